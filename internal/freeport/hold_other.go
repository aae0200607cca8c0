//go:build !linux

package freeport

import (
	"net"
	"net/netip"
)

// hold only looks for a port: where there is no holding it, another may get it.
func hold() (address netip.AddrPort, release func() error, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return address, nil, err
	}
	address, err = netip.ParseAddrPort(l.Addr().String())
	_ = l.Close()
	return address, func() error { return nil }, err
}
