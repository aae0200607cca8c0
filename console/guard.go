package console

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// policy is what pages may do: load their own style and script, and ask this
// server.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// handler puts the guards before the routes, the first to be asked first.
func (c *console) handler() http.Handler {
	h := c.routes()
	h = c.authenticated(h)
	cross := http.NewCrossOriginProtection() // no other site's page starts anything
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.fail(w, r, refuse(http.StatusForbidden, codeCrossSite, "this request was sent by a page of another site"))
	}))
	h = cross.Handler(h)
	h = c.known(h)
	return headers(http.MaxBytesHandler(h, mostBody))
}

func headers(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		set := w.Header().Set
		set("Content-Security-Policy", policy)
		set("X-Content-Type-Options", "nosniff")
		set("Referrer-Policy", "no-referrer")
		set("Cross-Origin-Resource-Policy", "same-origin")
		set("Cross-Origin-Opener-Policy", "same-origin")
		set("Cache-Control", "no-cache, private")
		h.ServeHTTP(w, r)
	})
}

// known lets a console that asks nobody who he is answer only to its own names:
// a page elsewhere whose name was made to lead to this machine is another site.
func (c *console) known(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		ip := net.ParseIP(strings.Trim(host, "[]"))
		if c.local && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			c.fail(w, r, refuse(http.StatusForbidden, codeCrossSite, "this console answers to 127.0.0.1 and localhost alone; with --console-token-file it may have any name"))
			return
		}
		h.ServeHTTP(w, r)
	})
}

// sessionFor is how long a browser need not be told the token again.
const sessionFor = 12 * time.Hour

const cookieName = "ihc_console"

// open paths need no token: they say nothing.
func openPath(path string) bool {
	return path == "/healthz" || path == "/login" || strings.HasPrefix(path, "/assets/")
}

// authenticated lets pass who has the token, in the header or, for a browser
// that was told it, in a cookie.
func (c *console) authenticated(h http.Handler) http.Handler {
	if c.token == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if openPath(r.URL.Path) || c.hasToken(r) || c.hasSession(r, time.Now()) {
			h.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="ihc"`)
		if wantsPage(r) && r.Method == http.MethodGet {
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		}
		c.fail(w, r, refuse(http.StatusUnauthorized, codeUnauthorized, "send the console's token: Authorization: Bearer TOKEN"))
	})
}

func (c *console) hasToken(r *http.Request) bool {
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(kind, "Bearer") && c.isToken(token)
}

// isToken compares digests, so that how long it takes tells nothing.
func (c *console) isToken(token string) bool {
	is, want := sha256.Sum256([]byte(token)), sha256.Sum256(c.token)
	return subtle.ConstantTimeCompare(is[:], want[:]) == 1
}

// session returns the cookie's value for a session that ends at a time.
func (c *console) session(end time.Time) string {
	until := strconv.FormatInt(end.Unix(), 10)
	mac := hmac.New(sha256.New, c.token)
	mac.Write([]byte("console session until " + until))
	return until + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (c *console) hasSession(r *http.Request, now time.Time) bool {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return false
	}
	until, _, _ := strings.Cut(cookie.Value, ".")
	end, err := strconv.ParseInt(until, 10, 64)
	if err != nil || now.Unix() >= end {
		return false
	}
	return hmac.Equal([]byte(cookie.Value), []byte(c.session(time.Unix(end, 0))))
}

// guesses bounds how often anybody may try a token.
var guesses = rate.NewLimiter(5, 20)

// login is the form that asks for the token, and what becomes of it.
func (c *console) login(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodGet {
		return c.page(w, r, http.StatusOK, "login", view{Title: "Log in"})
	}
	if !guesses.Allow() {
		w.Header().Set("Retry-After", "5")
		return refuse(http.StatusTooManyRequests, codeBusy, "too many tries: wait a few seconds")
	}
	if c.token == nil || !c.isToken(strings.TrimSpace(r.PostFormValue("token"))) {
		return c.page(w, r, http.StatusUnauthorized, "login", view{Title: "Log in", Wrong: "That is not the token."})
	}
	end := time.Now().Add(sessionFor)
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: c.session(end), Path: "/", Expires: end, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode}) //nolint:gosec // without TLS a secure cookie would never come back
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

// logout ends the session of a browser.
func (c *console) logout(w http.ResponseWriter, r *http.Request) error {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode}) //nolint:gosec // as above
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}
