// Command attributor runs the pipeline's scoring stage as a service of its
// own, in any number of replicas.
package main

import (
	"os"

	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/services/attributor"
)

func main() { os.Exit(service.Main(stream.StageAttributor, attributor.Run)) }
