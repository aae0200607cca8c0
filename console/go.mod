module github.com/ihc-pipeline/ihc/console

go 1.26.0

require (
	github.com/ihc-pipeline/ihc/internal v0.0.0
	github.com/ihc-pipeline/ihc/proto v0.0.0
	github.com/ihc-pipeline/ihc/store v0.0.0
)

replace (
	github.com/ihc-pipeline/ihc/internal => ../internal
	github.com/ihc-pipeline/ihc/proto => ../proto
	github.com/ihc-pipeline/ihc/store => ../store
)
