package sandbox

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
)

// call is one call for scores on its way to an answer.
type call struct {
	*Sandbox
	w      http.ResponseWriter
	r      *http.Request
	faults *Faults
	drawn  injection
	due    time.Time // when the answer leaves
}

// answer reads the body and answers, with the fault that was drawn.
func (c *call) answer(body []byte) {
	switch c.drawn.fault {
	case fault429, fault5xx, fault500In200, faultReset: // not scored at all
		if c.wait() {
			c.fail()
		}
		return
	}
	req, reply := c.judge(body)
	out := ihcapi.AppendResponse(nil, reply)
	if !c.wait() {
		return
	}
	if req != nil {
		if way := c.faults.breaks(req.Sessions); way != "" {
			c.breakOff(way)
			return
		}
	}
	if c.faults.Instead != "" {
		c.instead(reply, out)
		return
	}
	if c.drawn.fault == faultCutOff {
		c.countFault()
		c.cutOff(out)
		return
	}
	httpStatus := reply.StatusCode
	if httpStatus == ihcapi.StatusPartial {
		httpStatus = http.StatusOK // the two may differ, and here they do
	}
	if c.drawn.fault != "" { // slow, but answered
		c.countFault()
	}
	if httpStatus >= 400 {
		c.ledger.update(func(st *Stats) { st.Refusals++ })
	}
	if reply.HasValue {
		c.ledger.answered(req, reply)
	}
	c.write(httpStatus, reply.StatusCode, out)
}

// judge scores the body, or says in a reply why not; req is nil then.
func (c *call) judge(body []byte) (*ihcapi.Request, *ihcapi.Response) {
	refuse := func(why string) (*ihcapi.Request, *ihcapi.Response) {
		return nil, &ihcapi.Response{StatusCode: ihcapi.StatusInvalid, Message: why}
	}
	violate := func(what, why string) (*ihcapi.Request, *ihcapi.Response) {
		c.violation(what)
		return refuse(why)
	}
	if kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return violate("Content-Type is not application/json", "Content-Type must be application/json")
	}
	convType := c.r.URL.Query().Get(ihcapi.ConvTypeParam)
	if convType == "" {
		return violate("conv_type_id is missing", "conv_type_id is missing from the query")
	}
	if known := c.config.ConvTypeIDs; len(known) > 0 && !slices.Contains(known, convType) {
		return refuse(fmt.Sprintf("conv_type_id %q is not a trained conversion type", convType))
	}
	req, err := ihcapi.ParseRequest(body)
	if err != nil {
		return violate("request not understood", err.Error())
	}
	if limits := c.config.Limits; req.Journeys > limits.Journeys || req.Rows > limits.Sessions {
		return violate("request over the plan's limits", fmt.Sprintf(
			"the request has %d journeys and %d sessions; the plan allows %d and %d", req.Journeys, req.Rows, limits.Journeys, limits.Sessions))
	}
	for range req.Failures {
		c.violation("row that cannot be parsed")
	}
	c.checkFlags(req.Sessions)
	if id, found := c.faults.poisoned(req.Sessions); found {
		return refuse(fmt.Sprintf("conversion %q makes the request invalid (the sandbox was told to say so)", id))
	}
	c.faults.takeOut(req)
	reply := Answer(c.config.Model, req)
	reply.Values = c.faults.spoilValues(reply.Values)
	if c.faults.Shuffle {
		rand.New(rand.NewPCG(c.drawn.order, 0)).Shuffle(len(reply.Values), func(i, j int) {
			reply.Values[i], reply.Values[j] = reply.Values[j], reply.Values[i]
		})
	}
	return req, reply
}

// checkFlags counts journeys in which not the last session alone is flagged as the conversion.
func (c *call) checkFlags(sessions []ihcapi.Session) {
	for _, journey := range journeys(sessions) {
		at := slices.IndexFunc(journey, func(s ihcapi.Session) bool { return s.Conversion })
		switch {
		case at < 0:
			c.violation("journey without a session flagged as the conversion")
		case at < len(journey)-1:
			c.violation("journey with sessions after the one flagged as the conversion")
		}
	}
}

// wait holds the answer until it is due; false if the client left meanwhile.
func (c *call) wait() bool {
	timer := time.NewTimer(time.Until(c.due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.r.Context().Done():
		c.ledger.update(func(st *Stats) { st.Faults["client left"]++ })
		return false
	}
}

func (c *call) countFault() { c.ledger.update(func(st *Stats) { st.Faults[c.drawn.fault]++ }) }

// fail answers with a fault in place of scores.
func (c *call) fail() {
	c.countFault()
	switch c.drawn.fault {
	case fault429:
		if after := time.Duration(c.faults.RetryAfter); after > 0 {
			c.w.Header().Set("Retry-After", wholeSeconds(after))
		}
		c.write(http.StatusTooManyRequests, http.StatusTooManyRequests, []byte(`{"message":"Too Many Requests"}`))
	case fault5xx:
		body := []byte(`{"message":"Internal server error"}`)
		if c.drawn.status == http.StatusBadGateway { // a gateway that does not speak JSON
			c.w.Header().Set("Content-Type", "text/html")
			body = []byte("<html><body><h1>502 Bad Gateway</h1></body></html>")
		}
		c.write(c.drawn.status, c.drawn.status, body)
	case fault500In200:
		c.write(http.StatusOK, ihcapi.StatusBroken, ihcapi.AppendResponse(nil, &ihcapi.Response{StatusCode: ihcapi.StatusBroken}))
	case faultReset:
		c.reset()
	}
}

// breakOff ends a call that is not to be answered, in one of the breakWays.
func (c *call) breakOff(way string) {
	c.ledger.update(func(st *Stats) { st.Faults["break"]++ })
	switch way {
	case breakHang:
		<-c.r.Context().Done()
	case breakReset:
		c.reset()
	case insteadPage:
		c.page()
	default:
		status, _ := strconv.Atoi(way) // it is one of breakWays
		c.write(status, status, []byte(`{"message":"Internal server error"}`))
	}
}

// instead sends what comes in place of a reply.
func (c *call) instead(reply *ihcapi.Response, out []byte) {
	c.ledger.update(func(st *Stats) { st.Faults["instead"]++ })
	status := http.StatusOK
	switch c.faults.Instead {
	case insteadPage:
		c.page()
		return
	case insteadEnvelope:
		out = slices.Concat([]byte(`{"data":`), out, []byte("}"))
	case insteadList:
		_, out, _ = bytes.Cut(out, []byte(`"value":`))
		out = out[:bytes.LastIndexByte(out, ']')+1]
	case insteadNothing:
		out = nil
	case insteadMark:
		status = reply.StatusCode
		out = slices.Concat([]byte("\xef\xbb\xbf"), out)
	}
	c.write(status, status, out)
}

// page sends what a network shows before one has signed in.
func (c *call) page() {
	c.w.Header().Set("Content-Type", "text/html")
	c.write(http.StatusOK, http.StatusOK, []byte("<!DOCTYPE html><html><head><title>Sign in to the network</title></head><body></body></html>"))
}

// write sends a whole answer. It is counted before it leaves, so that who has
// an answer finds it in the stats.
func (c *call) write(httpStatus, statusCode int, body []byte) {
	c.ledger.update(func(st *Stats) { st.Answers[strconv.Itoa(statusCode)]++ })
	header := c.w.Header()
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/json")
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(httpStatus)
	_, _ = c.w.Write(body) // the one failure left is a client that went away
}

// cutOff promises the whole body, sends half of it and ends the connection.
func (c *call) cutOff(body []byte) {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = c.w.Write(body[:len(body)/2])
	_ = http.NewResponseController(c.w).Flush()
	panic(http.ErrAbortHandler) // the documented way to end a connection
}

// reset ends the connection with a TCP reset, where it is TCP.
func (c *call) reset() {
	conn, _, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // not a connection of our own: end the stream
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
