package postgres

import (
	"errors"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ihc-pipeline/ihc/internal/errkind"
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
)

// isCode says whether err came from PostgreSQL with one of the codes.
func isCode(err error, codes ...string) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && slices.Contains(codes, e.Code)
}

// explain says for people what is wrong, and classifies it.
func (d *Database) explain(err error) error {
	if err == nil || errkind.KindOf(err) != errkind.Run {
		return err
	}
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		var connect *pgconn.ConnectError
		var network net.Error
		if errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) {
			return errkind.Environmentf("database %s cannot be reached: %w; see that it runs and takes connections from here", d.name, err)
		}
		return err
	}
	switch {
	case e.Code == noSuchDatabase:
		return errkind.Environmentf("there is no database at %s: %w; create it (createdb)", d.name, err)
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
		return errkind.Environmentf("database %s is locked by another program: %w; try again later", d.name, err)
	case strings.HasPrefix(e.Code, "08"), strings.HasPrefix(e.Code, "53"), strings.HasPrefix(e.Code, "57"), strings.HasPrefix(e.Code, "58"):
		return errkind.Environmentf("database %s cannot be used: %w; see to the server", d.name, err)
	case e.Code == undefinedTable, e.Code == undefinedColumn:
		return errkind.Inputf("database %s lacks what the pipeline reads: %w; ihc validate says what", d.name, err)
	}
	return err
}
