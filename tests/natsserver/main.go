// Command natsserver is a NATS server with JetStream as a process of its own,
// alone or one of a cluster, for tests that kill it.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// config is what the flags say.
type config struct {
	dir, listen, name, cluster, routes string
	most                               int64
	sync                               time.Duration
}

func main() {
	var c config
	flag.StringVar(&c.dir, "dir", "", "directory of the streams")
	flag.StringVar(&c.listen, "listen", "127.0.0.1:4222", "address")
	flag.StringVar(&c.name, "name", "chaos", "the server's name, which no other of its cluster has")
	flag.StringVar(&c.cluster, "cluster", "", "address for the other servers of a cluster; none for a server alone")
	flag.StringVar(&c.routes, "routes", "", "the cluster addresses of all servers, with commas in between")
	flag.Int64Var(&c.most, "max-store", 1<<40, "most bytes on disk")
	flag.DurationVar(&c.sync, "sync", 10*time.Second, "how often to sync to the disk; 0 for every message")
	flag.Parse()
	if err := c.serve(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (c config) serve() error {
	o := &server.Options{
		ServerName: c.name, NoSigs: true,
		JetStream: true, StoreDir: c.dir, JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: c.most,
		SyncInterval: c.sync, SyncAlways: c.sync == 0,
	}
	var err error
	if o.Host, o.Port, err = split(c.listen); err != nil {
		return err
	}
	if c.cluster != "" {
		o.Cluster.Name = "chaos"
		if o.Cluster.Host, o.Cluster.Port, err = split(c.cluster); err != nil {
			return err
		}
		for _, address := range strings.Split(c.routes, ",") {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: address})
		}
	}
	ns, err := server.NewServer(o)
	if err != nil {
		return err
	}
	ns.ConfigureLogger()
	ns.Start()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
	ns.Shutdown()
	ns.WaitForShutdown()
	return nil
}

func split(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	return host, port, err
}
