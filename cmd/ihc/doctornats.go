package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

// nats looks for a running stack, where one is named, and at the certificates
// that it and this program show.
func (f *doctorFlags) nats(ctx context.Context) []finding {
	if f.url(true) == "" {
		return []finding{{Of: "stack", State: stateNotUsed, Says: "none is named; use --nats URL"}}
	}
	expiries, err := f.address.TLS.Expiries()
	if err != nil {
		return []finding{found("tls", err, "")}
	}
	var stack finding
	client, done, err := f.connect(ctx, false)
	if err != nil {
		stack = found("stack", err, "")
	} else {
		defer done()
		stack = found("stack", client.Check(ctx), "NATS at "+f.url(true)+" answers, and has the pipeline's streams")
		expiries = append(client.Served(), expiries...)
	}
	if len(expiries) == 0 {
		return []finding{stack}
	}
	return []finding{stack, expiring(expiries, time.Now())}
}

// expiring says of certificates whether they are good, and for how long.
func expiring(all []stream.Expiry, now time.Time) finding {
	const soon = 30 // days
	var over, near, good []string
	for _, e := range all {
		days := int(e.Until.Sub(now).Hours() / 24)
		on := e.Until.UTC().Format("2006-01-02 15:04 MST")
		switch {
		case now.After(e.Until):
			over = append(over, fmt.Sprintf("%s has run out on %s", e.Of, on))
		case days < soon:
			near = append(near, fmt.Sprintf("%s runs out in %d days, on %s", e.Of, days, on))
		default:
			good = append(good, fmt.Sprintf("%s is good until %s", e.Of, on))
		}
	}
	says := strings.Join(append(append(over, near...), good...), "; ")
	switch {
	case len(over) > 0:
		return found("tls", errkind.Environmentf("%s: renew what has run out", says), "")
	case len(near) > 0:
		return finding{Of: "tls", State: stateSoon, Says: says + ": renew it before"}
	default:
		return finding{Of: "tls", State: stateOK, Says: says}
	}
}
