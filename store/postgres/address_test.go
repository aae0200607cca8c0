package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Where a password ends is not always told by an address that was typed wrong:
// then nothing of it is shown.
func TestAddressesAreShownWithoutTheirPassword(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"postgres://user:secret@host/shop":                               "postgres://user@host/shop",
		"postgresql://user:se%40cret@host:5432/shop?search_path=a":       "postgresql://user@host:5432/shop?search_path=a",
		"postgres://host/shop?user=u&password=secret":                    "postgres://host/shop?user=u",
		"postgres://host/shop?sslkey=k&sslpassword=secret&sslmode=allow": "postgres://host/shop?sslkey=k&sslmode=allow",
		"postgres://user@a,b:5433/shop":                                  "postgres://user@a,b:5433/shop",
		"postgres:///shop?host=/tmp/socket":                              "postgres:///shop?host=/tmp/socket",
		"postgres:///?service=shop":                                      "postgres:///?service=shop",
		"postgres://user:se%zzcret@host/shop":                            "postgres://…",
		"postgres://user:se#cret@host/shop":                              "postgres://…",
		"postgres://user:12/secret@host/shop":                            "postgres://…",
		"postgres://user:12?secret@host/shop":                            "postgres://…",
		"postgres://user:12#secret@host/shop":                            "postgres://…",
		"postgres://user:sec@ret@host/shop":                              "postgres://user@host/shop",
		"postgres://user:sec@re/t@host/shop":                             "postgres://…",
		"postgres://…":                                                   "postgres://…",
	} {
		require.Equal(t, want, Shown(address))
		require.Equal(t, `at "`+want+`" and elsewhere`, Hide(`at "`+address+`" and elsewhere`))
	}
}
