module github.com/ihc-pipeline/ihc/store

go 1.26.0

require (
	github.com/cespare/xxhash/v2 v2.3.0
	github.com/ihc-pipeline/ihc/internal v0.0.0
	github.com/ihc-pipeline/ihc/proto v0.0.0
	github.com/mattn/go-sqlite3 v1.14.53
	github.com/shopspring/decimal v1.6.0
	github.com/stretchr/testify v1.12.1
	golang.org/x/sync v0.24.0
	golang.org/x/sys v0.49.0
	golang.org/x/text v0.43.0
	google.golang.org/protobuf v1.36.12
	pgregory.net/rapid v1.3.0
)

require (
	github.com/rivo/uniseg v0.4.7 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	gonum.org/v1/gonum v0.17.0 // indirect
)

replace (
	github.com/ihc-pipeline/ihc/internal => ../internal
	github.com/ihc-pipeline/ihc/proto => ../proto
)
