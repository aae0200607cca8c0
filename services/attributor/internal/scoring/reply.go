package scoring

import (
	"fmt"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// tolerance is how far the shares of one conversion may sum from 1, in
// ten-thousandths: 0.001.
const tolerance = 10

// reconcile holds a reply against what was asked. A conversion is attributed
// only if the reply has exactly one sound row for each of its sessions, none
// for another, and they sum to 1; whatever else it is, it fails with its
// reason and takes no other conversion with it. Rows of conversions that were
// not asked about are returned as strangers.
func reconcile(journeys []*ihcv1.Journey, reply *ihcapi.Response) (done *Scored, strangers []string) {
	done = &Scored{Requests: 1}
	type asked struct {
		slot    map[string]int // session id on the wire → position
		there   []bool         // whether its row came
		shares  *ihcv1.Attribution
		problem string
	}
	all := make(map[string]*asked, len(journeys))
	for _, j := range journeys {
		n := len(j.GetSessionIds())
		a := &asked{slot: make(map[string]int, n), there: make([]bool, n), shares: newAttribution(j)}
		for i, id := range j.GetSessionIds() {
			a.slot[ihcapi.WireID(id)] = i
		}
		all[ihcapi.WireID(j.GetConvId())] = a
	}
	blame := func(a *asked, format string, args ...any) {
		if a.problem == "" { // the first reason is the one that explains the rest
			a.problem = fmt.Sprintf(format, args...)
		}
	}
	for _, f := range reply.Failures {
		if a := all[f.ConversionID]; a != nil {
			blame(a, "the IHC API: %s (status %d)", f.Reason, f.StatusCode)
		} else {
			strangers = append(strangers, f.ConversionID)
		}
	}
	for _, v := range reply.Values {
		a := all[v.ConversionID]
		if a == nil {
			strangers = append(strangers, v.ConversionID)
			continue
		}
		i, known := a.slot[v.SessionID]
		switch {
		case v.Problem != "":
			blame(a, "the IHC API's reply is unusable: %s", v.Problem)
		case !known:
			blame(a, "the IHC API's reply has a session that was not sent")
		case a.there[i]:
			blame(a, "the IHC API's reply has a session twice")
		default:
			a.there[i] = true
			a.shares.Ihc[i], a.shares.Initializer[i], a.shares.Holder[i], a.shares.Closer[i] = tenThousandths(v.IHC), tenThousandths(v.Initializer), tenThousandths(v.Holder), tenThousandths(v.Closer)
		}
	}
	for _, j := range journeys {
		a := all[ihcapi.WireID(j.GetConvId())]
		sum := int64(0)
		for i, share := range a.shares.GetIhc() {
			if !a.there[i] {
				blame(a, "the IHC API's reply lacks a session")
			}
			sum += int64(share)
		}
		if off := sum - int64(unit.Whole); off > tolerance || off < -tolerance {
			blame(a, "the IHC API's shares of the conversion do not sum to 1")
		}
		if a.problem != "" {
			done.fail(j, a.problem)
			continue
		}
		done.Attributions = append(done.Attributions, a.shares)
	}
	return done, strangers
}

// tenThousandths returns a share as messages have it. What is more than any
// share can be is cut, far from where it would still sum to 1.
func tenThousandths(s unit.Share) uint32 { return uint32(max(min(s, 2*unit.Whole), 0)) }
