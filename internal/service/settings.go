package service

import (
	"cmp"
	"errors"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

// Base is the part of the environment every process reads.
type Base struct {
	NATSURL      string `envconfig:"NATS_URL" default:"nats://127.0.0.1:4222" desc:"where NATS is"`
	NATSUser     string `envconfig:"NATS_USER" desc:"NATS user name"`
	NATSPassword string `envconfig:"NATS_PASSWORD" desc:"NATS password"`
	// NATSPasswordFile keeps the password out of the environment.
	NATSPasswordFile string `envconfig:"NATS_PASSWORD_FILE" desc:"path of a file with the NATS password, in place of NATS_PASSWORD"`
	NATSCreds        string `envconfig:"NATS_CREDS" desc:"path of a NATS credentials file"`
	// NATSCA, NATSCert and NATSKey are PEM files, read anew for each connection.
	NATSCA   string `envconfig:"NATS_CA" desc:"file with the authorities of the NATS server's certificate"`
	NATSCert string `envconfig:"NATS_CERT" desc:"file with the certificate to show the NATS server"`
	NATSKey  string `envconfig:"NATS_KEY" desc:"file with the certificate's key"`
	// HTTP is where health and metrics are served.
	HTTP string `envconfig:"IHC_HTTP" default:":8080" desc:"address of /healthz, /readyz and /metrics"`
	// LogLevel is one of debug, info, warn, error.
	LogLevel slog.Level `envconfig:"IHC_LOG_LEVEL" default:"info" desc:"least severity logged: debug, info, warn or error"`
	// Grace is how long work under way may take to finish on a stop.
	Grace time.Duration `envconfig:"IHC_GRACE" default:"20s" desc:"how long work under way may take to finish on a stop"`
}

// Address returns where NATS is.
func (b Base) Address() stream.Address {
	return stream.Address{URL: b.NATSURL, User: b.NATSUser, Password: b.NATSPassword, PasswordFile: b.NATSPasswordFile, Creds: b.NATSCreds,
		TLS: stream.TLS{CA: b.NATSCA, Cert: b.NATSCert, Key: b.NATSKey}}
}

// Validate returns an input fault that names the variable that is wrong.
func (b Base) Validate() error {
	if b.Grace < 0 {
		return errkind.Inputf("IHC_GRACE is %s: it cannot be negative", b.Grace)
	}
	return b.Address().TLS.Validate()
}

// Streams is the environment of whoever makes the streams: the deployment's
// init step, or the process the whole pipeline runs in.
type Streams struct {
	AckWait  time.Duration `envconfig:"IHC_ACK_WAIT" default:"10s" desc:"how long a killed process delays its messages"`
	KeepDays int           `envconfig:"IHC_KEEP_DAYS" default:"14" desc:"days for which journeys and results can be replayed"`
	MaxBytes int64         `envconfig:"IHC_STREAM_MAX_BYTES" default:"0" desc:"most bytes in each of the journeys and results streams; 0 for the server's limit"`
	Replicas int           `envconfig:"IHC_REPLICAS" default:"1" desc:"on how many servers of a NATS cluster each message is: 1, 3 or 5"`
}

// Settings returns them as package stream takes them.
func (c Streams) Settings() stream.Settings {
	s := stream.DefaultSettings()
	s.AckWait, s.KeepMessages, s.MaxBytes = c.AckWait, time.Duration(c.KeepDays)*24*time.Hour, c.MaxBytes
	s.Replicas = c.Replicas
	return s
}

// Validate returns an input fault that names the variable that is wrong.
func (c Streams) Validate() error {
	switch {
	case c.AckWait < 500*time.Millisecond:
		return errkind.Inputf("IHC_ACK_WAIT is %s: it must be at least 500ms", c.AckWait)
	case c.KeepDays < 1:
		return errkind.Inputf("IHC_KEEP_DAYS is %d: it must be at least 1", c.KeepDays)
	case c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5:
		return errkind.Inputf("IHC_REPLICAS is %d: it must be 1, 3 or 5, since a majority has to agree", c.Replicas)
	}
	return nil
}

// FromEnv fills a struct of envconfig fields and calls its methods Load, which
// may read files the environment names, and Validate, where it has them. An
// empty variable counts as one that is not set, since that is what compose
// passes for a variable left out. Errors are input faults, or those of Load.
func FromEnv[C any]() (C, error) {
	var c C
	unsetEmpty(reflect.TypeOf(c))
	if err := envconfig.Process("", &c); err != nil {
		var p *envconfig.ParseError
		if errors.As(err, &p) {
			return c, errkind.Inputf("environment variable %s: %q is no value that it takes: %s", p.KeyName, shown(p.KeyName, p.Value), cmp.Or(human.Takes(p.TypeName), "correct it"))
		}
		return c, errkind.Inputf("environment: %w", err)
	}
	if l, ok := any(&c).(interface{ Load() error }); ok {
		if err := l.Load(); err != nil {
			return c, err
		}
	}
	if v, ok := any(c).(interface{ Validate() error }); ok {
		return c, v.Validate()
	}
	return c, nil
}

// shown hides the values of secrets.
func shown(key, value string) string {
	if strings.Contains(key, "KEY") || strings.Contains(key, "PASSWORD") {
		return "(hidden)"
	}
	return value
}

func unsetEmpty(t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			unsetEmpty(f.Type)
			continue
		}
		if name := f.Tag.Get("envconfig"); name != "" && os.Getenv(name) == "" {
			_ = os.Unsetenv(name)
		}
	}
}
