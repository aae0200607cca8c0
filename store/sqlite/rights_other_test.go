//go:build !linux

package sqlite

// dropRights has nothing to do where tests are not run by the superuser.
func dropRights() func() { return func() {} }
