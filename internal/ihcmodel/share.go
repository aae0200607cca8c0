package ihcmodel

import "github.com/ihc-pipeline/ihc/internal/unit"

// Share is a share of a conversion in ten-thousandths, [Whole] the share 1.
type Share = unit.Share

// Whole is the share 1.
const Whole = unit.Whole
