package postgres

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/store"
)

// Codes of PostgreSQL (https://www.postgresql.org/docs/current/errcodes-appendix.html).
const (
	serializationFailure  = "40001"
	deadlock              = "40P01"
	undefinedTable        = "42P01"
	undefinedColumn       = "42703"
	duplicateTable        = "42P07"
	insufficientPrivilege = "42501"
	noSuchDatabase        = "3D000"
	noSchema              = "3F000"
	noSuchSnapshot        = "22023" // of a server up to 15 (invalid_parameter_value)
	undefinedObject       = "42704" // and of later ones
	diskFull              = "53100"
	readOnly              = "25006"
	damaged               = "XX001"
	indexDamaged          = "XX002"
	lockNotAvailable      = "55P03"
	objectInUse           = "55006"
	tooManyConnections    = "53300"
	noSuchStatement       = "26000"
	statementThere        = "42P05"
)

// isCode says whether err came from PostgreSQL with one of the codes.
func isCode(err error, codes ...string) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && slices.Contains(codes, e.Code)
}

// away says whether an error that is none of PostgreSQL's own comes from the way to
// the server: it does not answer, or is gone in the middle of a sentence.
func away(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// explain says for people what is wrong, and classifies it.
func (d *Database) explain(err error) error {
	if err == nil || errkind.KindOf(err) != errkind.Run {
		return err
	}
	var e *pgconn.PgError
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		err = &worded{connect, err}
	}
	if !errors.As(err, &e) {
		if connect != nil && strings.Contains(err.Error(), "tls") {
			return errkind.Environmentf("database %s and this program do not trust one another: %w; see docs/postgres.md#tls", d.name, err)
		}
		if away(err) {
			return errkind.Passing(errkind.Environmentf("database %s cannot be reached: %w; see that it runs and takes connections from here", d.name, err))
		}
		return err
	}
	switch {
	case e.Code == noSuchDatabase:
		return errkind.Environmentf("there is no database at %s: %w; create it (createdb)", d.name, err)
	case strings.HasPrefix(e.Code, "28") && strings.Contains(e.Message, "no encryption"):
		return errkind.Environmentf("database %s takes no connections without TLS: %w; say sslmode=verify-full in the address, and sslrootcert", d.name, err)
	case strings.HasPrefix(e.Code, "28"):
		return errkind.Environmentf("database %s does not let us in: %w; correct the user and the password", d.name, err)
	case e.Code == insufficientPrivilege:
		return errkind.Environmentf("database %s: %w; grant what docs/postgres.md names", d.name, err)
	case e.Code == readOnly:
		return errkind.Environmentf("database %s takes no results: %w; name the primary server, and not a standby", d.name, err)
	case e.Code == noSchema:
		return errkind.Inputf("database %s has none of the schemas of its search path: %w; create one, or set search_path", d.name, err)
	case e.Code == diskFull:
		return errkind.Environmentf("no space left for database %s: %w; free some and run again", d.name, err)
	case e.Code == damaged, e.Code == indexDamaged:
		return errkind.Inputf("database %s is damaged: %w; restore it from a backup", d.name, err)
	case e.Code == lockNotAvailable, e.Code == objectInUse, e.Code == serializationFailure, e.Code == deadlock:
		return errkind.Passing(errkind.Environmentf("database %s is %v: %w; try again later", d.name, store.ErrLocked, err))
	case strings.HasPrefix(e.Code, "08"), strings.HasPrefix(e.Code, "57P"), e.Code == tooManyConnections:
		return errkind.Passing(errkind.Environmentf("database %s cannot be used now: %w; see to the server", d.name, err))
	case strings.HasPrefix(e.Code, "53"), strings.HasPrefix(e.Code, "57"), strings.HasPrefix(e.Code, "58"):
		return errkind.Environmentf("database %s cannot be used: %w; see to the server", d.name, err)
	case e.Code == undefinedTable, e.Code == undefinedColumn:
		return errkind.Inputf("database %s lacks what the pipeline reads: %w; ihc validate says what", d.name, err)
	case e.Code == noSuchStatement, e.Code == statementThere:
		return errkind.Inputf("something between here and database %s gives each transaction another connection: %w; add default_query_exec_mode=exec to the address", d.name, err)
	case connect != nil:
		return errkind.Environmentf("database %s refuses the connection: %w; correct the address", d.name, err)
	}
	return err
}

// worded is an error of a connection in one line. pgx has a line for each of the
// server's addresses, and one for each of the ways that sslmode allows.
type worded struct {
	connect *pgconn.ConnectError
	err     error
}

// refusedTLS is what pgx says of a server without TLS before it tries without.
const refusedTLS = "server refused TLS connection"

func (w *worded) Error() string {
	var e *pgconn.PgError
	if errors.As(w.connect, &e) {
		return e.Message
	}
	_, says, _ := strings.Cut(w.connect.Error(), "`:")
	var all []string
	lines := strings.Split(strings.TrimSpace(says), "\n")
	for _, line := range lines {
		line = strings.TrimSpace(line)
		told := slices.ContainsFunc(all, func(before string) bool { return strings.HasSuffix(before, line) })
		if !told && (len(lines) == 1 || !strings.HasSuffix(line, refusedTLS)) {
			all = append(all, line)
		}
	}
	return strings.Join(all, ", ")
}

func (w *worded) Unwrap() error { return w.err }
