package deploy_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/deploy/internal/credentials"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

// composed is what compose makes of files.
type composed struct {
	Services map[string]struct {
		Command     []string
		Environment map[string]string
		DependsOn   map[string]any `json:"depends_on"`
		Networks    map[string]any
		Deploy      struct{ Replicas int }
		Volumes     []struct{ Source, Target string }
		Secrets     []struct{ Source string }
	}
	Volumes map[string]any
}

// compose has Docker's compose read files as it would to start them; the test is
// skipped where there is no Docker.
func compose(t *testing.T, files ...string) composed {
	t.Helper()
	return composeWith(t, nil, files...)
}

// composeWith is compose with these variables, NAME=value, in the environment.
func composeWith(t *testing.T, variables []string, files ...string) composed {
	t.Helper()
	if exec.Command("docker", "compose", "version").Run() != nil {
		t.Skip("needs Docker with Compose")
	}
	args := []string{"compose", "--profile", "*"}
	for _, f := range files {
		args = append(args, "-f", f)
	}
	cmd := exec.CommandContext(t.Context(), "docker", append(args, "config", "--format", "json")...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, variables...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Run(), errs.String())
	var c composed
	require.NoError(t, json.Unmarshal(out.Bytes(), &c))
	return c
}

// With compose.postgres.yaml whoever uses the database reaches its server over TLS,
// by secrets, and the attributor does not know of it.
func TestTheStackOnPostgreSQL(t *testing.T) {
	t.Parallel()
	c := composeWith(t, []string{"POSTGRES_URL=postgres://pipeline@db.example/shop", "POSTGRES_CA=/etc/ca.pem", "POSTGRES_KEY=/etc/key.pem", "POSTGRES_CERT=/etc/cert.pem"}, "compose.yaml", "compose.postgres.yaml")
	for _, name := range []string{stream.StageExtractor, stream.StageWriter, stream.StageReporter, "console", stream.UserTools} {
		s := c.Services[name]
		require.Equal(t, "postgres://pipeline@db.example/shop", s.Environment["IHC_DB"], name)
		require.Equal(t, "verify-full", s.Environment["PGSSLMODE"], name)
		for variable, secret := range map[string]string{"PGSSLROOTCERT": "postgres_ca", "PGPASSFILE": "postgres_passfile", "PGSSLCERT": "postgres_cert", "PGSSLKEY": "postgres_key"} {
			require.Equal(t, "/run/secrets/"+secret, s.Environment[variable], name)
			require.Contains(t, s.Secrets, struct{ Source string }{secret}, name)
		}
		require.Contains(t, s.Networks, "database", name)
		require.Contains(t, s.Networks, "default", name)
	}
	require.NotContains(t, c.Services[stream.StageAttributor].Networks, "database")
	require.NotContains(t, c.Services[stream.StageAttributor].Environment, "PGSSLMODE")
	c = composeWith(t, []string{"POSTGRES_URL=postgres://pipeline@db.example/shop", "POSTGRES_CA=/etc/ca.pem"}, "compose.yaml", "compose.postgres.yaml")
	require.Empty(t, c.Services[stream.StageWriter].Environment["PGSSLKEY"])
}

// With compose.tls.yaml every program of the stack is told of its certificates,
// and the server reads the configuration that asks for them.
func TestTheStackBehindTLS(t *testing.T) {
	t.Parallel()
	c := compose(t, "compose.yaml", "compose.tls.yaml")
	for _, name := range append(slices.Sorted(maps.Keys(services)), stream.UserTools) {
		env := c.Services[name].Environment
		require.Equal(t, "/credentials/ca.pem", env["NATS_CA"], name)
		require.Equal(t, "/credentials/cert.pem", env["NATS_CERT"], name)
		require.Equal(t, "/credentials/key.pem", env["NATS_KEY"], name)
		require.Equal(t, "/credentials/password", env["NATS_PASSWORD_FILE"], name)
	}
	require.Contains(t, c.Services["steward"].Command, "-tls=nats,localhost,127.0.0.1")
	mounted := map[string]string{}
	for _, v := range c.Services["nats"].Volumes {
		mounted[v.Target] = v.Source
	}
	require.Regexp(t, `/nats\.tls\.conf$`, mounted["/etc/nats/nats-server.conf"])
	require.Regexp(t, `/nats\.conf$`, mounted["/etc/nats/nats.conf"])
	require.Equal(t, "streams", mounted["/streams"])
}

// Who has a password and no certificate is not let in, nor is the other way
// about.
func TestTheStackBehindTLSAsksForBoth(t *testing.T) {
	t.Parallel()
	s := newStackOf(t, "nats.tls.conf")
	require.NoError(t, s.client(t.Context(), t, stream.UserInit).Check(t.Context()))
	require.NoError(t, s.client(t.Context(), t, stream.StageWriter).Check(t.Context()))
	require.Len(t, s.client(t.Context(), t, stream.UserTools).Served(), 1)
	dial := func(a stream.Address) error {
		nc, err := stream.Dial(a, "test", slog.New(slog.DiscardHandler), false)
		if err == nil {
			nc.Close()
		}
		return err
	}
	with := s.address(stream.StageWriter)
	without := with
	without.TLS.Cert, without.TLS.Key = "", ""
	require.ErrorContains(t, dial(without), "does not accept the client's certificate")
	anonymous := with
	anonymous.User, anonymous.PasswordFile = "", ""
	require.ErrorContains(t, dial(anonymous), "refused the credentials")
	_, err := nats.Connect(s.url)
	require.Error(t, err)
	require.Empty(t, s.complaints())
}

// With compose.cluster.yaml three servers have a disk each, all programs know
// all of them, and the streams are on all.
func TestTheStackOverThreeServers(t *testing.T) {
	t.Parallel()
	c := compose(t, "compose.yaml", "compose.cluster.yaml")
	for name, disk := range map[string]string{"nats": "streams", "nats-2": "streams-2", "nats-3": "streams-3"} {
		s := c.Services[name]
		require.Equal(t, name, s.Environment["NATS_NAME"])
		mounted := map[string]string{}
		for _, v := range s.Volumes {
			mounted[v.Target] = v.Source
		}
		require.Len(t, mounted, 4, name)
		require.Equal(t, disk, mounted["/streams"])
		require.Equal(t, "nats-credentials", mounted["/etc/nats/credentials"])
		require.Regexp(t, `/nats\.cluster\.conf$`, mounted["/etc/nats/nats-server.conf"])
		require.Contains(t, c.Volumes, disk)
		require.Contains(t, text(t, "nats.cluster.conf"), "nats://"+name+":6222")
		require.Contains(t, c.Services["init"].DependsOn, name)
	}
	for _, name := range append(slices.Sorted(maps.Keys(services)), stream.UserTools) {
		require.Equal(t, "nats://nats:4222,nats://nats-2:4222,nats://nats-3:4222", c.Services[name].Environment["NATS_URL"], name)
	}
	require.Equal(t, "3", c.Services["init"].Environment["IHC_REPLICAS"])
	require.Equal(t, 3, c.Services["attributor"].Deploy.Replicas)
	require.Contains(t, c.Services["steward"].Command, "-streams=/streams,/streams-2,/streams-3")
}

// What the three servers are started with syncs each message to the disk, has
// the users' rights, and a name that the environment gives.
func TestServersOfAClusterAreConfiguredAsTheOneAlone(t *testing.T) {
	t.Setenv("NATS_NAME", "nats-2")
	s := newStackOf(t, "nats.cluster.conf", func(o *server.Options) {
		require.Equal(t, "nats-2", o.ServerName)
		require.Equal(t, "ihc", o.Cluster.Name)
		require.Len(t, o.Routes, 3)
		require.True(t, o.SyncAlways)
		require.Len(t, o.Users, len(credentials.Users))
		o.Cluster, o.Routes = server.ClusterOpts{}, nil // the test has one
	})
	require.NoError(t, s.client(t.Context(), t, stream.UserInit).Check(t.Context()))
}

// With TLS and three servers together, each server reads the configuration that
// asks its clients and the other servers for certificates, and has a certificate of
// its name.
func TestTheStackOverThreeServersBehindTLS(t *testing.T) {
	t.Parallel()
	c := compose(t, "compose.yaml", "compose.tls.yaml", "compose.cluster.yaml", "compose.cluster.tls.yaml")
	for name, disk := range map[string]string{"nats": "streams", "nats-2": "streams-2", "nats-3": "streams-3"} {
		mounted := map[string]string{}
		for _, v := range c.Services[name].Volumes {
			mounted[v.Target] = v.Source
		}
		require.Len(t, mounted, 5, name)
		require.Equal(t, disk, mounted["/streams"])
		require.Regexp(t, `/nats\.cluster\.tls\.conf$`, mounted["/etc/nats/nats-server.conf"])
		require.Regexp(t, `/nats\.tls\.conf$`, mounted["/etc/nats/nats.tls.conf"])
		require.Regexp(t, `/nats\.conf$`, mounted["/etc/nats/nats.conf"])
		require.Equal(t, name, c.Services[name].Environment["NATS_NAME"])
	}
	require.Contains(t, c.Services["steward"].Command, "-streams=/streams,/streams-2,/streams-3")
	require.Contains(t, c.Services["steward"].Command, "-tls=nats,nats-2,nats-3,localhost,127.0.0.1")
	for _, name := range append(slices.Sorted(maps.Keys(services)), stream.UserTools) {
		require.Equal(t, "/credentials/ca.pem", c.Services[name].Environment["NATS_CA"], name)
		require.Equal(t, "nats://nats:4222,nats://nats-2:4222,nats://nats-3:4222", c.Services[name].Environment["NATS_URL"], name)
	}
}

func TestServersOfAClusterBehindTLSAskOneAnotherForCertificates(t *testing.T) {
	t.Setenv("NATS_NAME", "nats-2")
	s := newStackOf(t, "nats.cluster.tls.conf", func(o *server.Options) {
		require.Equal(t, "nats-2", o.ServerName)
		require.Len(t, o.Routes, 3)
		require.True(t, o.SyncAlways)
		require.NotNil(t, o.Cluster.TLSConfig)
		require.Equal(t, tls.RequireAndVerifyClientCert, o.Cluster.TLSConfig.ClientAuth)
		require.Len(t, o.Users, len(credentials.Users))
		o.Cluster, o.Routes = server.ClusterOpts{}, nil // the test has one
	})
	require.NoError(t, s.client(t.Context(), t, stream.UserInit).Check(t.Context()))
	_, err := nats.Connect(s.url)
	require.Error(t, err)
}

// On PostgreSQL all that open the database are told its address and password, and
// there are two of each service.
func TestTheStackWithTwoOfEachService(t *testing.T) {
	t.Parallel()
	for _, files := range [][]string{{"compose.yaml", "compose.several.yaml"}, {"compose.yaml", "compose.cluster.yaml", "compose.several.yaml"}} {
		c := composeWith(t, []string{"POSTGRES_PASSWORD=secret"}, files...)
		for _, name := range []string{stream.StageExtractor, stream.StageWriter, stream.StageReporter, stream.UserConsole, stream.UserTools} {
			require.Equal(t, "postgres://ihc@postgres/ihc", c.Services[name].Environment["IHC_DB"], name)
			require.Equal(t, "secret", c.Services[name].Environment["PGPASSWORD"], name)
		}
		for _, name := range []string{stream.StageExtractor, stream.StageWriter, stream.StageReporter} {
			require.Equal(t, 2, c.Services[name].Deploy.Replicas, name)
			require.Contains(t, c.Services[name].DependsOn, "postgres")
			require.Contains(t, c.Services[name].DependsOn, "init")
		}
		require.Equal(t, 2, c.Services[stream.StageAttributor].Deploy.Replicas)
		require.Empty(t, c.Services[stream.StageAttributor].Environment["PGPASSWORD"])
	}
}
