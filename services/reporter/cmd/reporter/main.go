// Command reporter runs the pipeline's reporting stage as a service of its own.
package main

import (
	"os"

	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/services/reporter"
)

func main() { os.Exit(service.Main(stream.StageReporter, reporter.Run)) }
