package ihcapi

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

// maxDepth is how deep encoding/json lets values nest.
const maxDepth = 10_000

// FuzzDecodeResponse: no reply makes the decoder panic or give a share outside
// 0 to 1, and what it takes for whole JSON, the standard library does too.
func FuzzDecodeResponse(f *testing.F) {
	f.Add([]byte(`{"statusCode":206,"partialFailureErrors":[{"trigger":{"conversion_id":"c1","session_id":"s2"},"reason":"r","statusCode":206}],"value":[{"conversion_id":"c1","session_id":"s1","initializer":1.0,"holder":0.0,"closer":1.0,"ihc":1.0}]}`))
	f.Add([]byte(`{"statusCode":500,"value":null}`))
	f.Add([]byte(`{"value":[{"ihc":NaN},{"ihc":-Infinity},{"ihc":5e-05}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := DecodeResponse(bytes.NewReader(body), 1<<20, 1<<20)
		notJSON := bytes.Contains(body, []byte("NaN")) || bytes.Contains(body, []byte("Infinity"))
		if err != nil {
			var object map[string]json.RawMessage
			deep := bytes.Count(body, []byte("[")) + bytes.Count(body, []byte("{"))
			if deep < maxDepth && json.Valid(body) {
				require.True(t, json.Unmarshal(body, &object) != nil || object == nil, "a whole object was refused: %v", err)
			}
			return
		}
		require.True(t, notJSON || json.Valid(body), "not JSON, but taken: %q", body)
		for _, v := range got.Values {
			for _, share := range []ihcmodel.Share{v.Initializer, v.Holder, v.Closer, v.IHC} {
				require.True(t, share >= 0 && share <= ihcmodel.Whole, "%+v", v)
			}
			require.True(t, v.Problem != "" || v.ConversionID != "" && v.SessionID != "", "%+v", v)
		}
		// What was read can be written and read again to the same.
		for i := range got.Values {
			got.Values[i].Problem = ""
		}
		again, err := DecodeResponse(bytes.NewReader(AppendResponse(nil, got)), 1<<24, 1<<20)
		require.NoError(t, err)
		require.Equal(t, got.StatusCode, again.StatusCode)
		require.Len(t, again.Values, len(got.Values))
	})
}

// FuzzParseRequest: no request makes the parser panic, and what it understood
// it understands again from its own encoding.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"customer_journeys":[` + goodRow + `],"redistribution_parameter":{}}`))
	f.Add([]byte(`{"customer_journeys":[` + goodRow + `],"redistribution_parameter":{"holder":{"direction":"any_session","receive_threshold":0,"redistribution_channel_labels":["Direct"]}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := ParseRequest(body)
		if err != nil || len(got.Sessions) == 0 {
			return
		}
		again, err := ParseRequest(AppendRequest(nil, got.Sessions, got.Redistribution))
		require.NoError(t, err)
		require.Equal(t, got.Sessions, again.Sessions)
		require.Equal(t, got.Redistribution, again.Redistribution)
	})
}
