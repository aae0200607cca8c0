package ihcapi

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestAShortKeyIsRedactedAsAWordOfItsOwn(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"the key sandbox is wrong":                  "the key [key] is wrong",
		"sandbox":                                   "[key]",
		`"sandbox", (sandbox) sandbox. sandbox!`:    `"[key]", ([key]) [key]. [key]!`,
		"x-api-key: sandbox":                        "x-api-key: [key]",
		"/v1/x?key=sandbox&a=b":                     "/v1/x?key=[key]&a=b",
		"http://user:sandbox@host/sandbox":          "http://user:[key]@host/[key]",
		"the host sandbox:8088":                     "the host sandbox:8088",
		"http://sandbox/v1":                         "http://sandbox/v1",
		"http://me@sandbox/v1":                      "http://me@sandbox/v1",
		"api.sandbox.example, my-sandbox, sandbox2": "api.sandbox.example, my-sandbox, sandbox2",
		"sandboxed":                                 "sandboxed",
		"ésandbox":                                  "ésandbox",
		"sandbox sandboxes sandbox":                 "[key] sandboxes [key]",
		"sandbox-":                                  "[key]-",
	} {
		require.Equal(t, want, newRedactor("sandbox").redact(text), text)
	}
}

func TestALongKeyIsRedactedWhereverItStands(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`[!-~]{16,40}`).Draw(t, "key")
		text := rapid.String().Draw(t, "before") + key + rapid.String().Draw(t, "after")
		require.NotContains(t, newRedactor(key).redact(text), key)
	})
}

// A key that a service quotes beyond what is shown is not shown in part.
func TestAKeyIsTakenOutBeforeATextIsCut(t *testing.T) {
	t.Parallel()
	for _, before := range []int{150, 185, 195, 199, 780, 790} {
		pad := strings.Repeat(" ", max(before-190, 0)) + strings.Repeat("x", min(before, 190))
		client := setup(t, func(w http.ResponseWriter, r *http.Request) {
			key := r.Header.Get(KeyHeader)
			if r.URL.Query().Get(ConvTypeParam) == "fail" {
				w.WriteHeader(http.StatusBadRequest)
				write(w, `{"partialFailureErrors":[{"trigger":{"conversion_id":"`+pad+key+`"},"reason":"no"}]}`)
				return
			}
			write(w, `{"statusCode":200,"value":[{"conversion_id":"c","session_id":"s","ihc":"`+pad+key+`"}]}`)
		})
		got, err := client.Compute(t.Context(), "x", nil, 0)
		require.NoError(t, err)
		require.NotContains(t, got.Values[0].Problem, testKey[:5], before)
		_, err = client.Compute(t.Context(), "fail", nil, 0)
		require.Error(t, err)
		require.NotContains(t, err.Error(), testKey[:5], before)
	}
}

// dialer fails as the system does, with the name of a host.
type refusing struct{ error }

func (r refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, r.error }

func TestAHostThatIsCalledLikeTheKeyIsNamed(t *testing.T) {
	t.Parallel()
	client, err := NewClient(ClientConfig{BaseURL: "http://sandbox:8088/v1", Key: "sandbox", HTTP: &http.Client{Transport: refusing{io.ErrUnexpectedEOF}}})
	require.NoError(t, err)
	_, err = client.Compute(context.Background(), "x", nil, 0)
	require.ErrorContains(t, err, "sandbox:8088: unexpected EOF")
}
