// Command extractor runs the pipeline's first stage as a service of its own.
package main

import (
	"os"

	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/services/extractor"
)

func main() { os.Exit(service.Main(stream.StageExtractor, extractor.Run)) }
