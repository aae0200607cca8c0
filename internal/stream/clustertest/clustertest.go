// Package clustertest runs a cluster of NATS servers inside of a test.
package clustertest

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/freeport"
)

// Cluster is a few NATS servers that keep streams together, for one test.
type Cluster struct {
	t       testing.TB
	options []*server.Options
	servers []*server.Server
}

// New starts a cluster of n servers, which stops when the test ends, and
// returns when its servers have found one another; 1 is a server alone.
func New(t testing.TB, n int) *Cluster {
	t.Helper()
	c := &Cluster{t: t, servers: make([]*server.Server, n)}
	dir := t.TempDir()
	var routes []*url.URL
	for i := range n {
		client, route := int(freeport.Hold(t).Port()), int(freeport.Hold(t).Port())
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprint("127.0.0.1:", route)})
		c.options = append(c.options, &server.Options{
			ServerName: fmt.Sprint("nats-", i+1), Host: "127.0.0.1", Port: client, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: filepath.Join(dir, fmt.Sprint(i+1)), JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 1 << 40,
		})
		if n > 1 {
			c.options[i].Cluster = server.ClusterOpts{Name: "ihc", Host: "127.0.0.1", Port: route}
		}
	}
	t.Cleanup(func() {
		for i := range n {
			c.Stop(i)
		}
	})
	for i := range n {
		if n > 1 {
			c.options[i].Routes = routes
		}
		c.Start(i)
	}
	if n == 1 {
		return c
	}
	require.Eventually(t, func() bool {
		for _, s := range c.servers {
			if len(s.JetStreamClusterPeers()) == n {
				return true // which its leader alone knows
			}
		}
		return false
	}, time.Minute, 20*time.Millisecond)
	return c
}

// URL is where clients find all of the servers.
func (c *Cluster) URL() string {
	var all []string
	for _, o := range c.options {
		all = append(all, fmt.Sprintf("nats://%s:%d", o.Host, o.Port))
	}
	return strings.Join(all, ",")
}

// Start starts a server, 0 for the first.
func (c *Cluster) Start(i int) {
	c.t.Helper()
	ns, err := server.NewServer(c.options[i].Clone())
	require.NoError(c.t, err)
	ns.Start()
	require.True(c.t, ns.ReadyForConnections(time.Minute))
	c.servers[i] = ns
}

// Stop stops a server that runs, 0 for the first; what it holds stays.
func (c *Cluster) Stop(i int) {
	if ns := c.servers[i]; ns != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
		c.servers[i] = nil
	}
}
