// Command writer runs the pipeline's storing stage as a service of its own.
package main

import (
	"os"

	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/services/writer"
)

func main() { os.Exit(service.Main(stream.StageWriter, writer.Run)) }
