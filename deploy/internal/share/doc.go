// Package share makes a data directory that the host's user and the services can
// both write, whoever puts a file there and whenever. It is for Linux.
package share
