// Command natsserver is a NATS server with JetStream as a process of its own,
// for tests that kill it.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	dir := flag.String("dir", "", "directory of the streams")
	listen := flag.String("listen", "127.0.0.1:4222", "address")
	most := flag.Int64("max-store", 1<<40, "most bytes on disk")
	sync := flag.Duration("sync", 10*time.Second, "how often to sync to the disk; 0 for every message")
	flag.Parse()
	if err := serve(*dir, *listen, *most, *sync); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(dir, listen string, most int64, sync time.Duration) error {
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	ns, err := server.NewServer(&server.Options{
		ServerName: "chaos", Host: host, Port: port, NoSigs: true,
		JetStream: true, StoreDir: dir, JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: most,
		SyncInterval: sync, SyncAlways: sync == 0,
	})
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
