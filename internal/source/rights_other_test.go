//go:build !linux

package source

// dropRights has nothing to do where tests are not run by the superuser.
func dropRights() func() { return func() {} }
