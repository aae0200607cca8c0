package postgres

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Names says whether a name of a database is an address of PostgreSQL.
func Names(name string) bool {
	return strings.HasPrefix(name, "postgres://") || strings.HasPrefix(name, "postgresql://")
}

// Shown returns an address as it may be printed: without its password. Of one in
// which it cannot be told where a password ends nothing is shown.
func Shown(address string) string {
	scheme, rest, _ := strings.Cut(address, "://")
	u, err := url.Parse(address)
	if err != nil || rest == hidden || u.Fragment != "" || strings.Contains(u.Host+u.Path+u.RawQuery, "@") {
		return scheme + "://" + hidden
	}
	if q := u.Query(); q.Has("password") || q.Has("sslpassword") {
		q.Del("password")
		q.Del("sslpassword")
		u.RawQuery = q.Encode()
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	return u.String()
}

const hidden = "…"

// addresses finds them in a text.
var addresses = regexp.MustCompile("postgres(?:ql)?://[^\\s\"`]+")

// Hide returns a text in which all addresses are as they may be printed.
func Hide(text string) string { return addresses.ReplaceAllStringFunc(text, Shown) }

// Label returns what an address calls its database.
func Label(address string) string {
	if u, err := url.Parse(address); err == nil && len(u.Path) > 1 {
		return u.Path[1:]
	}
	return "postgres"
}

// noAddress says what is wrong with an address, by the error of whoever parsed it.
// Where it is not even a URL nothing of it is told: it may be of the password.
func noAddress(shown string, err error) error {
	var parse *pgconn.ParseConfigError
	if _, says, found := strings.Cut(err.Error(), "`: "); errors.As(err, &parse) && found && !strings.Contains(says, "URL") {
		return errkind.Inputf("the address %s cannot be used: %s", shown, says)
	}
	return errkind.Inputf("%s is no address of a PostgreSQL database: write postgres://USER@HOST:5432/DATABASE, with the password in PGPASSWORD or ~/.pgpass; in an address @ is %%40, and / %%2F", shown)
}
