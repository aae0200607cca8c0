package ihcapi

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Kind says what an [Error] means for whoever asked.
type Kind int

const (
	// Transient may pass: a busy or broken service, a lost connection, a reply
	// cut off or not JSON. Ask the same again, later.
	Transient Kind = iota
	// Refused is about the content of this request. The same again will be
	// refused again; half of it may not be.
	Refused
	// Denied is about the key. No request will do better.
	Denied
	// Unexpected is none of these (a wrong address, a redirect, a certificate
	// that does not hold). No request will do better until someone has looked.
	Unexpected
)

// String returns the kind in lower case.
func (k Kind) String() string {
	return [...]string{"transient", "refused", "denied", "unexpected"}[k]
}

// Error is a call that gave no values. Its text is one line and never has the key in it.
type Error struct {
	Kind       Kind
	HTTPStatus int              // 0 if there was no reply
	StatusCode int              // the body's; 0 if it had none
	Reason     string           // the service's own words, or what went wrong
	RetryAfter time.Duration    // what the service asked for; 0 if it did not
	Failures   []PartialFailure // rows the reply names as the cause, if any
	// NoReply: a success by its status that came whole and is no reply of the
	// IHC API, such as a proxy's sign-in page. It may be the address that is wrong.
	NoReply bool
	cause   error
}

// Outage says that the trouble lies with the service as a whole, by its own
// account (429, 503) or since no connection came about. No other trouble tells
// whether it is the service's or that of what was sent.
func (e *Error) Outage() bool {
	var system *net.OpError
	switch status := cmp.Or(e.StatusCode, e.HTTPStatus); status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true
	case 0:
		return errors.As(e.cause, &system) && system.Op != "read" && system.Op != "write"
	default:
		return e.HTTPStatus == http.StatusTooManyRequests || e.HTTPStatus == http.StatusServiceUnavailable
	}
}

// Error says what happened and what the service said of it.
func (e *Error) Error() string {
	what := "the IHC API gave no usable answer"
	switch e.Kind {
	case Refused:
		what = "the IHC API refused the request"
	case Denied:
		what = "the IHC API does not accept the key"
	case Unexpected:
		what = "the IHC API answered in a way it should not"
	}
	var status []string
	if e.HTTPStatus != 0 {
		status = append(status, "HTTP "+strconv.Itoa(e.HTTPStatus))
	}
	if e.StatusCode != 0 && e.StatusCode != e.HTTPStatus {
		status = append(status, "statusCode "+strconv.Itoa(e.StatusCode))
	}
	if len(status) > 0 {
		what += " (" + strings.Join(status, ", ") + ")"
	}
	if e.Reason != "" {
		what += ": " + e.Reason
	}
	switch cmp.Or(e.StatusCode, e.HTTPStatus) {
	case http.StatusTooManyRequests:
		what += " (it may be that requests come too fast, or that the quota of the key's plan is used up)"
	case http.StatusForbidden:
		what += " (it may be that the key is wrong, or that the quota of its plan is used up)"
	}
	return what
}

// Unwrap returns the error beneath, if there is one: that of the connection.
func (e *Error) Unwrap() error { return e.cause }

// judge turns a reply into values or an Error. body is nil where it could not
// be decoded, and then why says so.
//
// The body's statusCode is the one that counts. The HTTP status counts where
// the body has none, and where it reports an error against a body that claims
// success but brings no values.
func judge(httpStatus int, header http.Header, body *Response, why error, now time.Time) (*Response, *Error) {
	e := &Error{HTTPStatus: httpStatus, RetryAfter: retryAfter(header, now), cause: why}
	status := httpStatus
	if body != nil {
		e.StatusCode, e.Failures = body.StatusCode, body.Failures
		status = cmp.Or(body.StatusCode, httpStatus)
		succeeded := status == StatusOK || status == StatusPartial
		if succeeded && httpStatus >= 400 && len(body.Values) == 0 {
			status, succeeded = httpStatus, false
		}
		redirected := httpStatus >= 300 && httpStatus < 400
		if succeeded && !redirected && (body.HasValue || len(body.Failures) > 0) {
			body.StatusCode = status
			return body, nil
		}
		e.Reason = body.Message
		if e.Reason == "" && len(body.Failures) > 0 {
			f := body.Failures[0]
			e.Reason = fmt.Sprintf("conversion %q, session %q: %s", f.ConversionID, f.SessionID, f.Reason)
		}
	} else if why != nil {
		e.Reason = why.Error()
	}
	e.Kind = kindOf(status, httpStatus)
	if e.Kind == Transient && status < 300 {
		e.NoReply = body != nil || errors.Is(why, errNoReply)
		e.Reason = cmp.Or(e.Reason, "the reply has no value")
	}
	if location := header.Get("Location"); e.Kind == Unexpected && location != "" {
		e.Reason = "it redirects to " + location + "; redirects are not followed, so that the key stays where it was sent"
	}
	return nil, e
}

// kindOf maps the status that counts.
func kindOf(status, httpStatus int) Kind {
	switch {
	case httpStatus >= 300 && httpStatus < 400:
		return Unexpected
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return Denied
	case status == StatusInvalid, status == StatusUnparseable,
		status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		return Refused
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		return Transient
	case status >= 500, status >= 200 && status < 300: // a success in name, but not a reply
		return Transient
	}
	return Unexpected
}

// maxRetryAfter bounds what a service can ask for; who calls may bound it further.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads the header Retry-After: seconds, or a date.
func retryAfter(header http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		if !(seconds > 0) { // also for NaN
			return 0
		}
		if seconds > maxRetryAfter.Seconds() {
			return maxRetryAfter
		}
		return time.Duration(seconds * float64(time.Second))
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
