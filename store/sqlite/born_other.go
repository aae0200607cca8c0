//go:build !linux

package sqlite

func born(string) int64 { return 0 }
