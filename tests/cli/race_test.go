//go:build race

package cli

// raceDetector says that the command is to be built with the detector too.
const raceDetector = true
