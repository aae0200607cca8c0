// Package e2e drives the stack of containers from end to end, as its users do:
// with docker compose, the nats protocol and the files in the data directory.
//
//	make e2e
//
// The tests work in a copy of the repository, under a project name and ports
// of their own, and take everything away when they are done.
package e2e
