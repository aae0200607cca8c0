//go:build race

package sqlite

import "flag"

// Under the race detector properties are looked at with fewer inputs, which take it many
// times as long: what it finds does not hang on them, and the same tests run without it.
func init() {
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
}
