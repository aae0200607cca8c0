package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
)

// Codes of errors that only a server has; the others are in package errkind.
const (
	codeUnauthorized = "unauthorized"
	codeCrossSite    = "cross_site"
	codeReadOnly     = "read_only"
	codeNotFound     = "not_found"
	codeNotAllowed   = "method_not_allowed"
	codeNotEnded     = "not_ended"
	codeTooLarge     = "too_large"
	codeMediaType    = "unsupported_media_type"
	codeAcceptable   = "not_acceptable"
	codeBusy         = "busy"
)

// statuses are the HTTP statuses of codes; of a code that is not here it is 500.
var statuses = map[string]int{
	errkind.CodeInput:             http.StatusBadRequest,
	errkind.CodeUnknownRun:        http.StatusNotFound,
	errkind.CodeUnknownConversion: http.StatusNotFound,
	errkind.CodeRunExists:         http.StatusConflict,
	errkind.CodeWrongState:        http.StatusConflict,
	errkind.CodeEnvironment:       http.StatusServiceUnavailable,
	codeUnauthorized:              http.StatusUnauthorized,
	codeCrossSite:                 http.StatusForbidden,
	codeReadOnly:                  http.StatusForbidden,
	codeNotFound:                  http.StatusNotFound,
	codeNotAllowed:                http.StatusMethodNotAllowed,
	codeNotEnded:                  http.StatusNotFound,
	codeTooLarge:                  http.StatusRequestEntityTooLarge,
	codeMediaType:                 http.StatusUnsupportedMediaType,
	codeAcceptable:                http.StatusNotAcceptable,
	codeBusy:                      http.StatusServiceUnavailable,
}

// problem is an error as RFC 9457 has it.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
}

func (p *problem) Error() string { return p.Detail }

// refuse returns the error of a request that is not answered.
func refuse(status int, code, format string, args ...any) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...), Code: code}
}

// problemOf returns what a client is told of an error.
func problemOf(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return refuse(http.StatusRequestEntityTooLarge, codeTooLarge, "the request is larger than %s", human.Bytes(uint64(large.Limit)))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return refuse(http.StatusServiceUnavailable, codeBusy, "this takes too long at the moment: try again later")
	}
	code := errkind.CodeOf(err)
	status, known := statuses[code]
	if !known {
		status = http.StatusInternalServerError
	}
	return refuse(status, code, "%s", err.Error())
}

// fail answers with an error, for people as a page and for programs as a
// problem.
func (c *console) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody is there to be told
	}
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError {
		c.log.Warn("cannot answer", "method", r.Method, "path", r.URL.Path, "code", p.Code, "error", p.Detail)
	}
	if p.Code == codeBusy && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "5")
	}
	if wantsPage(r) {
		if c.page(w, r, p.Status, "wrong", view{Title: p.Title, Wrong: p.Detail}) == nil {
			return
		}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// wantsPage says whether a person asks.
func wantsPage(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/api/") }
