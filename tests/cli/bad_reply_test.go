package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
)

// badReply is an API that answers badly, and what comes of it.
type badReply struct {
	name string
	// once answers the first call, every answers all of them; other calls get
	// a sound answer.
	once, every func(w http.ResponseWriter, r *http.Request, req *ihcapi.Request)
	exit        int
	failed      []string // conversions that are to fail, the others being attributed
	says        string   // why, in the report or in the line that ends the run
	calls       int      // how many it takes, where that matters
	patience    string   // how long an answer is waited for, "" for as long as usual
}

// plain answers with a status and a body.
func plain(status int, body string, header ...string) func(http.ResponseWriter, *http.Request, *ihcapi.Request) {
	return func(w http.ResponseWriter, _ *http.Request, _ *ihcapi.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// edited answers with the sound reply, changed.
func edited(change func(*ihcapi.Response)) func(http.ResponseWriter, *http.Request, *ihcapi.Request) {
	return func(w http.ResponseWriter, _ *http.Request, req *ihcapi.Request) {
		reply := soundReply(req)
		change(reply)
		_, _ = w.Write(ihcapi.AppendResponse(nil, reply))
	}
}

// rewritten answers with the text of the sound reply, changed in or after the
// row of conversion c3.
func rewritten(old, with string) func(http.ResponseWriter, *http.Request, *ihcapi.Request) {
	return func(w http.ResponseWriter, _ *http.Request, req *ihcapi.Request) {
		body := string(ihcapi.AppendResponse(nil, soundReply(req)))
		at := strings.Index(body, `{"conversion_id":"c3"`)
		if strings.HasPrefix(old, `{"statusCode"`) {
			at = 0
		}
		changed := body[:at] + strings.Replace(body[at:], old, with, 1)
		if changed == body {
			panic("the reply has no " + old)
		}
		_, _ = io.WriteString(w, changed)
	}
}

func soundReply(req *ihcapi.Request) *ihcapi.Response {
	model, err := ihcmodel.New(ihcmodel.DefaultParams())
	if err != nil {
		panic(err)
	}
	return sandbox.Answer(model, req)
}

// without takes the rows of a conversion for which drop says so out of a reply.
func without(drop func(ihcapi.Value) bool) func(http.ResponseWriter, *http.Request, *ihcapi.Request) {
	return edited(func(r *ihcapi.Response) { r.Values = slices.DeleteFunc(r.Values, drop) })
}

// share changes the ihc of conversion c3's one session, in ten-thousandths.
func share(change func(ihcmodel.Share) ihcmodel.Share) func(http.ResponseWriter, *http.Request, *ihcapi.Request) {
	return edited(func(r *ihcapi.Response) {
		for i := range r.Values {
			if r.Values[i].ConversionID == "c3" {
				r.Values[i].IHC = change(r.Values[i].IHC)
			}
		}
	})
}

// refusing answers with a status if the request has a conversion, soundly if not.
func refusing(status int, conv string) func(http.ResponseWriter, *http.Request, *ihcapi.Request) {
	return func(w http.ResponseWriter, r *http.Request, req *ihcapi.Request) {
		if conv == "" || slices.ContainsFunc(req.Sessions, func(s ihcapi.Session) bool { return s.ConversionID == conv }) {
			plain(status, fmt.Sprintf(`{"statusCode":%d,"message":"no such luck"}`, status))(w, r, req)
			return
		}
		edited(func(*ihcapi.Response) {})(w, r, req)
	}
}

var all = []string{"c1", "c2", "c3"}

var badReplies = []badReply{
	// Trouble that passes: asked again, and nothing to be seen of it.
	{name: "500", once: plain(500, `{"message":"Internal server error"}`)},
	{name: "502 of a gateway", once: plain(502, "<html><h1>Bad Gateway</h1></html>", "Content-Type", "text/html")},
	{name: "503 without a body", once: plain(503, "")},
	{name: "504", once: plain(504, `{"statusCode":504}`)},
	{name: "408", once: plain(408, "")},
	{name: "429", once: plain(429, `{"message":"Too Many Requests"}`)},
	{name: "429 with seconds to wait", once: plain(429, "", "Retry-After", "1")},
	{name: "429 with a date to wait for", once: plain(429, "", "Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT")},
	{name: "429 with rubbish to wait for", once: plain(429, "", "Retry-After", "a while")},
	{name: "statusCode 500 in a 200", once: plain(200, `{"statusCode":500,"partialFailureErrors":[],"value":null}`)},
	{name: "statusCode 429 in a 200", once: plain(200, `{"statusCode":429,"value":null}`)},
	{name: "HTML in a 200", once: plain(200, "<html>Sign in to the hotel's network</html>")},
	{name: "nothing in a 200", once: plain(200, "")},
	{name: "null", once: plain(200, "null")},
	{name: "a list", once: plain(200, "[]")},
	{name: "an object without anything", once: plain(200, "{}")},
	{name: "no value", once: plain(200, `{"statusCode":200,"partialFailureErrors":[]}`)},
	{name: "a value of null", once: plain(200, `{"statusCode":200,"partialFailureErrors":[],"value":null}`)},
	{name: "a value that is text", once: plain(200, `{"statusCode":200,"value":"later"}`)},
	{name: "JSON cut off", once: plain(200, `{"statusCode":200,"value":[{"conversion_id":"c1","session_id":"s1","ini`)},
	{name: "something after the JSON", once: plain(200, `{"statusCode":200,"value":[]} and more`)},
	{name: "bytes", once: plain(200, string(noise(300)))},
	{name: "a length that is not kept", once: plain(200, `{"statusCode":200,`, "Content-Length", "5000")},
	{name: "a connection that breaks", once: func(http.ResponseWriter, *http.Request, *ihcapi.Request) { panic(http.ErrAbortHandler) }},
	{name: "an answer that does not come", once: func(_ http.ResponseWriter, r *http.Request, _ *ihcapi.Request) { <-r.Context().Done() }, patience: "500ms"},

	// Oddities that do no harm.
	{name: "values in another order", every: edited(func(r *ihcapi.Response) { slices.Reverse(r.Values) }), calls: 1},
	{name: "further fields", every: rewritten(`{"statusCode"`, `{"requestId":"r-1","took":{"ms":[1,2]},"statusCode"`), calls: 1},
	{name: "numbers in another form", every: rewritten(`"ihc":1.0`, `"ihc":100e-2`), calls: 1},
	{name: "an id in escapes", every: rewritten(`"conversion_id":"c3"`, `"conversion_id":"\u00633"`), calls: 1},
	{name: "a conversion nobody asked about", every: edited(func(r *ihcapi.Response) {
		r.Values = append(r.Values, ihcapi.Value{ConversionID: "stranger", SessionID: "s1"})
	}), calls: 1},
	{name: "shares off by little", every: share(func(f ihcmodel.Share) ihcmodel.Share { return f - 5 }), calls: 1},

	// Wrong about one conversion: it fails, alone.
	{name: "a session is missing", every: without(func(v ihcapi.Value) bool { return v.ConversionID == "c2" && v.SessionID == "s1" }), exit: 1, failed: []string{"c2"}, says: "the IHC API's reply lacks a session"},
	{name: "a conversion is missing", every: without(func(v ihcapi.Value) bool { return v.ConversionID == "c1" }), exit: 1, failed: []string{"c1"}, says: "lacks a session"},
	{name: "all are missing", every: without(func(ihcapi.Value) bool { return true }), exit: 1, failed: all, says: "lacks a session"},
	{name: "a session too many", every: edited(func(r *ihcapi.Response) {
		r.Values = append(r.Values, ihcapi.Value{ConversionID: "c3", SessionID: "s1"})
	}), exit: 1, failed: []string{"c3"}, says: "a session that was not sent"},
	{name: "a session twice", every: edited(func(r *ihcapi.Response) { r.Values = append(r.Values, r.Values[len(r.Values)-1]) }), exit: 1, failed: []string{"c3"}, says: "a session twice"},
	{name: "shares that sum to half", every: share(func(f ihcmodel.Share) ihcmodel.Share { return f / 2 }), exit: 1, failed: []string{"c3"}, says: "do not sum to 1"},
	{name: "shares off by 0.002", every: share(func(f ihcmodel.Share) ihcmodel.Share { return f - 20 }), exit: 1, failed: []string{"c3"}, says: "do not sum to 1"},
	{name: "a negative share", every: share(func(f ihcmodel.Share) ihcmodel.Share { return -f }), exit: 1, failed: []string{"c3"}, says: "unusable"},
	{name: "a share of NaN", every: rewritten(`"ihc":1.0`, `"ihc":NaN`), exit: 1, failed: []string{"c3"}, says: "unusable"},
	{name: "a share of null", every: rewritten(`"ihc":1.0`, `"ihc":null`), exit: 1, failed: []string{"c3"}, says: "unusable"},
	{name: "a share in words", every: rewritten(`"ihc":1.0`, `"ihc":"all of it"`), exit: 1, failed: []string{"c3"}, says: "unusable"},
	{name: "a share beyond all bounds", every: rewritten(`"ihc":1.0`, `"ihc":1e300`), exit: 1, failed: []string{"c3"}, says: "unusable"},
	{name: "a share left out", every: rewritten(`,"ihc":1.0`, ``), exit: 1, failed: []string{"c3"}, says: "unusable"},
	{name: "a partial failure", every: edited(func(r *ihcapi.Response) {
		r.StatusCode = 206
		r.Values = slices.DeleteFunc(r.Values, func(v ihcapi.Value) bool { return v.ConversionID == "c2" })
		r.Failures = append(r.Failures, ihcapi.PartialFailure{ConversionID: "c2", SessionID: "s3", Reason: "the stars were not right", StatusCode: 206})
	}), exit: 1, failed: []string{"c2"}, says: "the IHC API: the stars were not right (status 206)"},
	{name: "a partial failure with values all the same", every: edited(func(r *ihcapi.Response) {
		r.Failures = append(r.Failures, ihcapi.PartialFailure{ConversionID: "c2", SessionID: "s1", Reason: ihcapi.ReasonAfterConversion, StatusCode: 206})
	}), exit: 1, failed: []string{"c2"}, says: "excluded from customer journey"},
	{name: "none could be parsed", every: edited(func(r *ihcapi.Response) {
		r.StatusCode, r.HasValue, r.Values = 406, false, nil
		for _, c := range all {
			r.Failures = append(r.Failures, ihcapi.PartialFailure{ConversionID: c, Reason: "unparseable", StatusCode: 406})
		}
	}), exit: 1, failed: all, says: "unparseable"},
	{name: "a failure that quotes the key", every: edited(func(r *ihcapi.Response) {
		r.Values = slices.DeleteFunc(r.Values, func(v ihcapi.Value) bool { return v.ConversionID == "c2" })
		r.Failures = append(r.Failures, ihcapi.PartialFailure{ConversionID: "c2", Reason: "your key " + secret + " is too good for that", StatusCode: 206})
	}), exit: 1, failed: []string{"c2"}, says: "your key [key] is too good"},
	{name: "400 for one conversion", every: refusing(400, "c2"), exit: 1, failed: []string{"c2"}, says: "the IHC API refused the request (HTTP 400): no such luck", calls: 3},
	{name: "413 for one conversion", every: refusing(413, "c1"), exit: 1, failed: []string{"c1"}, says: "the IHC API refused the request (HTTP 413)"},
	{name: "400 whatever is asked", every: refusing(400, ""), exit: 1, failed: all, says: "the IHC API refused the request (HTTP 400)", calls: 5},

	// Wrong about everything: the run ends, and says why in one line.
	{name: "401", every: plain(401, `{"message":"Unauthorized"}`), exit: 3, says: "the IHC API does not accept the key (HTTP 401): Unauthorized"},
	{name: "403", every: plain(403, `{"message":"Forbidden"}`), exit: 3, says: "the IHC API does not accept the key (HTTP 403): Forbidden"},
	{name: "statusCode 403 in a 200", every: plain(200, `{"statusCode":403,"value":null}`), exit: 3, says: "does not accept the key (HTTP 200, statusCode 403)"},
	{name: "403 that quotes the key", every: plain(403, `{"message":"`+secret+` is not a key"}`), exit: 3, says: "[key] is not a key"},
	{name: "404", every: plain(404, "nothing here"), exit: 3, says: "answered in a way it should not (HTTP 404)"},
	{name: "405", every: plain(405, ""), exit: 3, says: "answered in a way it should not (HTTP 405)"},
	{name: "a redirect", every: plain(302, "", "Location", "https://elsewhere.example/v2"), exit: 3, says: "it redirects to https://elsewhere.example/v2; redirects are not followed"},
}

func TestBadReplies(t *testing.T) {
	t.Parallel()
	sounds := newHouse(t)
	soundDB := smallShop(sounds)
	sounds.must("run", "--db", soundDB, "--out", sounds.path("out"), "--model", "builtin")
	want := tables(t, soundDB).Only(results)
	for _, c := range badReplies {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			db := smallShop(h)
			source := tables(t, db)
			server, calls := serveReplies(t, c)
			r := h.with("IHC_API_KEY="+secret, "IHC_API_TIMEOUT="+c.patience).run("run", "--db", db, "--out", h.path("out"), "--model", "api",
				"--conv-type-id", "any", "--api-url", server)
			require.Equal(t, c.exit, r.code, "%s%s", r.stdout, r.stderr)
			require.NotContains(t, r.stdout+r.stderr, secret)
			requireNowhere(t, secret, h.dir)
			after := tables(t, db)
			require.Empty(t, source.Diff(after.Only(untouched)))
			if c.calls > 0 {
				require.EqualValues(t, c.calls, calls.Load(), "requests")
			}
			switch {
			case c.exit == 3:
				require.Contains(t, r.complaint(t), c.says)
				require.Empty(t, after["attribution_customer_journey"])
				require.Empty(t, after["channel_reporting"])
				require.NoDirExists(t, h.path("out", "channel_reporting.csv"))
				require.Empty(t, list(t, h.path("out")))
			case c.exit == 1:
				require.Contains(t, r.complaint(t), fmt.Sprintf("%d of 4 conversions failed", len(c.failed)))
				require.Contains(t, r.stdout, c.says)
				require.Contains(t, r.stdout, fmt.Sprintf("%d failed", len(c.failed)))
				requireSmallShop(t, db, h, attributed-len(c.failed), "")
				for _, row := range after["attribution_customer_journey"] {
					conv := strings.Trim(strings.Split(row, " | ")[0], `"`)
					require.NotContains(t, c.failed, conv)
					require.Contains(t, want["attribution_customer_journey"], row, "the others are as they would be")
				}
				for _, conv := range c.failed {
					require.True(t, slices.ContainsFunc(after["pipeline_outcomes"], func(row string) bool {
						return strings.Contains(row, fmt.Sprintf(`| %q |`, conv)) && strings.Contains(row, `"failed"`) && strings.Contains(row, c.says)
					}), "the ledger says why %s failed: %v", conv, after["pipeline_outcomes"])
				}
			case strings.HasPrefix(c.name, "shares off"):
				requireSmallShop(t, db, h, attributed, "")
			default:
				require.Empty(t, want.Diff(after.Only(results)), "the same as without the trouble")
				require.Equal(t, read(t, sounds.path("out", "channel_reporting.csv")), read(t, h.path("out", "channel_reporting.csv")))
			}
		})
	}
}

// serveReplies serves the replies of one case, and counts the calls.
func serveReplies(t *testing.T, c badReply) (url string, calls *atomic.Int64) {
	t.Helper()
	calls = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost { // whether anything is here
			w.WriteHeader(http.StatusNotFound)
			return
		}
		n := calls.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		req, err := ihcapi.ParseRequest(body)
		switch {
		case err != nil || r.Header.Get("x-api-key") != secret:
			w.WriteHeader(http.StatusTeapot) // ends the run, and the test with it
		case c.every != nil:
			c.every(w, r, req)
		case n == 1:
			c.once(w, r, req)
		default:
			edited(func(*ihcapi.Response) {})(w, r, req)
		}
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.URL + "/v1", calls
}

// An API that is down for a while holds the run up, and no more.
func TestAPIThatIsDownForAWhile(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	began := time.Now()
	down := badReply{every: func(w http.ResponseWriter, r *http.Request, req *ihcapi.Request) {
		if time.Since(began) < 3*time.Second {
			plain(503, "")(w, r, req)
			return
		}
		edited(func(*ihcapi.Response) {})(w, r, req)
	}}
	server, calls := serveReplies(t, down)
	h.with("IHC_API_KEY="+secret).must("run", "--db", db, "--out", h.path("out"), "--model", "api", "--conv-type-id", "any", "--api-url", server)
	requireSmallShop(t, db, h, attributed, "")
	require.LessOrEqual(t, calls.Load(), int64(12), "it is not hammered meanwhile")
}
