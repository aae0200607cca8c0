// Package browser opens the pages the pipeline writes in Debian's Chromium and
// looks at them as people do: without a network, without the script, on a phone,
// in the dark, by keyboard, on paper. Run by `make browser`, which needs
// chromium and npm; a module of its own, so that what drives a browser reaches
// nothing else.
package browser
