package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// LastConversion implements [store.Reports].
func (d *Database) LastConversion(ctx context.Context) (last time.Time, err error) {
	err = d.inSnapshot(ctx, noSource, func(conn *sql.Conn) error {
		var at sql.NullString
		// What is no date is of no use, and told by validation.
		err := conn.QueryRowContext(ctx, `SELECT max(conv_date||' '||substr(conv_time, 1, 8)) FROM conversions
			WHERE conv_date GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]' AND conv_time GLOB '[0-9][0-9]:[0-9][0-9]:[0-9][0-9]*'`).Scan(&at)
		if err != nil || !at.Valid {
			return err
		}
		last, err = time.ParseInLocation(time.DateTime, at.String, time.UTC)
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("find the last conversion: %w", err)
	}
	return last, nil
}
