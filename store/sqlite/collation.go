package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/store/inspect"
)

// The pipeline tells ids apart by their bytes. Where a column's collation sees
// two ids as one that are not, users' queries would come to other numbers than
// the report: such data are refused. All others are the same to both.

// The collations SQLite has.
const (
	byBytes   = "BINARY"
	byLetters = "NOCASE"
	untrimmed = "RTRIM"
)

// noCollation is how SQLite tells that it does not know one, with its name.
const noCollation = "no such collation sequence: "

// collation returns which of SQLite's collations a column compares by, asking
// it to compare. Where it, or an index on the column, has another one, unknown
// is its name.
func collation(ctx context.Context, conn connection, table, column string) (name, unknown string, err error) {
	var letters, spaces bool
	err = conn.QueryRowContext(ctx, `SELECT c = 'A', c = 'a ' FROM (SELECT `+column+` AS c FROM `+table+` WHERE 0 UNION ALL SELECT 'a')`).Scan(&letters, &spaces)
	var e sqlite3.Error
	switch {
	case errors.As(err, &e) && strings.HasPrefix(e.Error(), noCollation):
		return "", strings.TrimPrefix(e.Error(), noCollation), nil
	case err != nil:
		return "", "", err
	case letters:
		return byLetters, "", nil
	case spaces:
		return untrimmed, "", nil
	default:
		return byBytes, "", nil
	}
}

// checkCollations reports collations of a table's columns of text that are not
// known, and returns those of the others that do not go by bytes, by column.
func (v *validation) checkCollations(ctx context.Context, conn *sql.Conn, t table) (special map[string]string, known bool, err error) {
	special = map[string]string{}
	for _, c := range t.columns {
		if !c.text {
			continue
		}
		name, unknown, err := collation(ctx, conn, "main."+t.name, c.name)
		if err != nil {
			return nil, false, err
		}
		if unknown != "" {
			v.add(findings.UnknownCollation.With(human.Quote(unknown)), t.name, c.name, 0, "", "")
			return nil, false, nil
		}
		if name != byBytes {
			special[c.name] = name
		}
	}
	return special, true, nil
}

// sharedIDs are the columns that hold ids of one kind.
var sharedIDs = [][]struct{ table, column string }{
	{{tables.SessionSources, "session_id"}, {tables.SessionCosts, "session_id"}},
	{{tables.Conversions, "conv_id"}},
	{{tables.SessionSources, "user_id"}, {tables.Conversions, "user_id"}},
}

// checkIdentities finds ids that differ and that a column's collation sees as
// one. Where all columns go by bytes there is nothing to read.
func (v *validation) checkIdentities(ctx context.Context, shapes map[string]shape) error {
	for _, kind := range sharedIDs {
		var all []string
		var special []int
		for i, c := range kind {
			if s := shapes[c.table]; s.sound {
				all = append(all, "SELECT "+c.column+"||'' AS id FROM "+c.table)
				if s.special[c.column] != "" {
					special = append(special, i)
				}
			}
		}
		for _, i := range special {
			c := kind[i]
			name := shapes[c.table].special[c.column]
			var n int64
			var one, other sql.NullString
			err := v.db.QueryRowContext(ctx, `SELECT count(*), min(least COLLATE BINARY), greatest FROM (
				SELECT min(id COLLATE BINARY) AS least, max(id COLLATE BINARY) AS greatest
				FROM (`+strings.Join(all, " UNION ALL ")+`) GROUP BY id COLLATE `+name+`)
				WHERE least COLLATE BINARY <> greatest`).Scan(&n, &one, &other)
			if err != nil {
				return err
			}
			if n > 0 {
				v.add(findings.SameByCollation.With(name), c.table, c.column, n, "ids", inspect.Apart(one.String, other.String))
			}
		}
	}
	return nil
}

// wide is the order of bytes of a database in UTF-16; nil for one in UTF-8.
func wide(ctx context.Context, conn *sql.Conn) (binary.AppendByteOrder, error) {
	var encoding string
	err := conn.QueryRowContext(ctx, `PRAGMA encoding`).Scan(&encoding)
	switch {
	case err != nil:
		return nil, err
	case encoding == "UTF-16le":
		return binary.LittleEndian, nil
	case encoding == "UTF-16be":
		return binary.BigEndian, nil
	default:
		return nil, nil
	}
}

// survives says whether a text that is stored in UTF-16 is the same when it was
// read in UTF-8 and is written again: it has no half of a surrogate pair and
// neither U+FFFE nor U+FFFF, which SQLite replaces.
func survives(text string, stored []byte, order binary.AppendByteOrder) bool {
	again := make([]byte, 0, 64)
	for _, r := range text {
		switch {
		case r == 0xfffe || r == 0xffff:
			return false
		case r > 0xffff:
			again = order.AppendUint16(again, uint16(0xd800+(r-0x10000)>>10))
			again = order.AppendUint16(again, uint16(0xdc00+(r-0x10000)&0x3ff))
		default:
			again = order.AppendUint16(again, uint16(r))
		}
	}
	return slices.Equal(again, stored)
}
