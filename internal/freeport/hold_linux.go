package freeport

import (
	"errors"
	"net/netip"
	"syscall"
)

// hold binds a socket to a port of the system's choice and does not listen. Others
// may bind theirs to it by name, as Linux has it, since neither minds (SO_REUSEADDR,
// which is set by Go for every listener); of itself the system passes it over.
func hold() (address netip.AddrPort, release func() error, err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return address, nil, err
	}
	err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		return address, nil, errors.Join(err, syscall.Close(fd))
	}
	is, err := syscall.Getsockname(fd)
	if err != nil {
		return address, nil, errors.Join(err, syscall.Close(fd))
	}
	at, _ := is.(*syscall.SockaddrInet4) // it was bound to one
	return netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port)), func() error { return syscall.Close(fd) }, nil
}
