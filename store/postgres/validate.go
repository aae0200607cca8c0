package postgres

import (
	"context"
	"errors"

	"github.com/ihc-pipeline/ihc/internal/findings"
)

func (d *Database) Validate(ctx context.Context, o findings.Options) (*findings.Findings, error) {
	return nil, errors.New("TODO")
}

func (d *Database) Rehearse(ctx context.Context) error { return errors.New("TODO") }
