package ihcapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

func TestPlanLimits(t *testing.T) {
	t.Parallel()
	free, err := PlanLimits("free")
	require.NoError(t, err)
	require.Equal(t, Limits{100, 200}, free)
	paid, err := PlanLimits("paid")
	require.NoError(t, err)
	require.Equal(t, Limits{100, 3000}, paid)
	_, err = PlanLimits("gold")
	require.EqualError(t, err, `unknown plan "gold"; there are free and paid`)
}

// TestRequestAsDocumented holds the encoder to the documented example, byte for byte.
func TestRequestAsDocumented(t *testing.T) {
	t.Parallel()
	at, err := ParseTimestamp("2023-09-01 13:01:28")
	require.NoError(t, err)
	got := AppendRequest(nil, []Session{{ConversionID: "c1", SessionID: "s1", TimeMicros: at + 999_999, Channel: "Paid Search Brand", Holder: true}},
		&ihcmodel.Redistribution{Closer: &ihcmodel.Rule{Direction: ihcmodel.LaterSessions, ReceiveThreshold: 0.1, Channels: []string{"SEO - Brand"}}})
	require.Equal(t, `{"customer_journeys":[{"conversion_id":"c1","session_id":"s1","timestamp":"2023-09-01 13:01:28",`+
		`"channel_label":"Paid Search Brand","holder_engagement":1,"closer_engagement":0,"conversion":0,"impression_interaction":0}],`+
		`"redistribution_parameter":{"closer":{"direction":"later_sessions_only","receive_threshold":0.1,`+
		`"redistribution_channel_labels":["SEO - Brand"]}}}`, string(got))
	require.NotContains(t, string(AppendRequest(nil, nil, &ihcmodel.Redistribution{})), "redistribution_parameter")
}

func anySession(t *rapid.T) Session {
	anyText := func(label string) string {
		return string(rapid.OneOf(
			rapid.SliceOfN(rapid.Byte(), 1, 12), // mostly not UTF-8
			rapid.Map(rapid.StringN(1, 12, 40), func(s string) []byte { return []byte(s) }),
		).Draw(t, label))
	}
	lastSecond := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).UnixMicro()
	return Session{
		ConversionID: anyText("conversion"),
		SessionID:    anyText("session"),
		Channel:      anyText("channel"),
		TimeMicros:   rapid.Int64Range(-60_000_000_000_000_000, lastSecond).Draw(t, "time"),
		Holder:       rapid.Bool().Draw(t, "holder"),
		Closer:       rapid.Bool().Draw(t, "closer"),
		Conversion:   rapid.Bool().Draw(t, "conversion flag"),
		Impression:   rapid.Bool().Draw(t, "impression"),
	}
}

func TestRequestIsValidAndComesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sent := anySession(t)
		body := AppendRequest(nil, []Session{sent}, nil)
		require.True(t, json.Valid(body), "%q", body)
		got, err := ParseRequest(body)
		require.NoError(t, err)
		want := sent
		want.ConversionID, want.SessionID, want.Channel = WireID(sent.ConversionID), WireID(sent.SessionID), WireID(sent.Channel)
		want.TimeMicros -= (sent.TimeMicros%1_000_000 + 1_000_000) % 1_000_000 // whole seconds, towards the past
		require.Equal(t, []Session{want}, got.Sessions)
		// The standard library reads the same text.
		var theirs struct {
			CustomerJourneys []struct {
				ID string `json:"conversion_id"`
			} `json:"customer_journeys"`
		}
		require.NoError(t, json.Unmarshal(body, &theirs))
		require.Equal(t, want.ConversionID, theirs.CustomerJourneys[0].ID)
	})
}

func TestParseTimestamp(t *testing.T) {
	t.Parallel()
	utc, err := ParseTimestamp("2023-09-01 13:01:28")
	require.NoError(t, err)
	require.Equal(t, time.Date(2023, 9, 1, 13, 1, 28, 0, time.UTC).UnixMicro(), utc)
	zoned, err := ParseTimestamp("2023-09-01 17:01:28 +0400")
	require.NoError(t, err)
	require.Equal(t, utc, zoned)
	for _, bad := range []string{
		"", "2023-09-01", "2023-09-01T13:01:28", "2023-09-01 3:01:28", "2023-09-01 13:01:28.5", "2023-09-01 13:01:28Z",
		"2023-02-30 13:01:28", "2023-09-01 24:01:28", "2023-09-01 13:01:28 +04:00", "2023-09-01 13:01:28 Berlin",
	} {
		_, err := ParseTimestamp(bad)
		require.ErrorContains(t, err, "is not of the form", bad)
	}
}

const goodRow = `{"conversion_id":"c1","session_id":"s1","timestamp":"2023-09-01 13:01:28","channel_label":"A","holder_engagement":1,"closer_engagement":0,"conversion":0}`

func TestParseRequestRefusesTheWhole(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		``:                         "ends too early",
		`[`:                        "ends too early",
		`]`:                        "byte 1",
		`{"customer_journeys":[`:   "ends too early",
		`{"customer_journeys":[]}`: "missing or empty",
		`{}`:                       "missing or empty",
		`{"customer_journeys":[` + goodRow + `]} x`:                                                        "byte 179: invalid character 'x' after top-level value",
		`{"customer_journeys":[` + goodRow + `],"redistribution":{}}`:                                      `unknown field "redistribution"`,
		`{"customer_journeys":[` + goodRow + `,3]}`:                                                        "row 2",
		`{"customer_journeys":[` + strings.Replace(goodRow, "channel_label", "channel", 1) + `]}`:          `row 1: unknown field "channel"`,
		`{"customer_journeys":[` + strings.Replace(goodRow, `"c1"`, `""`, 1) + `]}`:                        "row 1: conversion_id is missing",
		`{"customer_journeys":[` + strings.Replace(goodRow, `"c1"`, `7`, 1) + `]}`:                         "row 1: conversion_id is missing",
		`{"customer_journeys":[` + goodRow + `],"redistribution_parameter":{"holder":{"direction":"up"}}}`: "redistribution_parameter: holder",
		`{"customer_journeys":[` + goodRow + `],"redistribution_parameter":"none"}`:                        "redistribution_parameter: want an object",
		`{"customer_journeys":[` + strings.Replace(goodRow, `"c1"`, strings.Repeat("[", 10_000), 1) + `]}`: "exceeded max depth",
		`{"customer_journeys":[{"conversion_id":"a` + "\n" + `"}]}`:                                        `invalid character '\n' in string literal`,
		`{"customer_journeys":[{"conversion_id":"\q"}]}`:                                                   "in string escape code",
		`{"customer_journeys":[{"conversion_id":"\u12"}]}`:                                                 "hexadecimal",
		`{"customer_journeys":[{"conversion_id" "x"}]}`:                                                    "after object key",
		`{"customer_journeys":[{x:1}]}`:                                                                    "looking for beginning of object key string",
		`{"customer_journeys":[{"conversion_id":tru}]}`:                                                    "in literal true",
		`{"customer_journeys":[{"conversion_id":1.}]}`:                                                     "after decimal point in numeric literal",
		`{"customer_journeys":[{"conversion_id":"a"` + "}" + ` {}]}`:                                       "after array element",
	} {
		_, err := ParseRequest([]byte(body))
		require.ErrorContains(t, err, want, "%.200s", body)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestParseRequestFailsOneJourney(t *testing.T) {
	t.Parallel()
	for bad, want := range map[string]string{
		strings.Replace(goodRow, `13:01:28`, `25:01:28`, 1):                     `timestamp "2023-09-01 25:01:28" is not of the form`,
		strings.Replace(goodRow, `"2023-09-01 13:01:28"`, `5`, 1):               "timestamp is 5, not text",
		strings.Replace(goodRow, `"holder_engagement":1,`, ``, 1):               "holder_engagement is missing",
		strings.Replace(goodRow, `"conversion":0`, `"conversion":2`, 1):         "conversion is 2, not 0 or 1",
		strings.Replace(goodRow, `"conversion":0`, `"conversion":null`, 1):      "conversion is missing",
		strings.Replace(goodRow, `"s1"`, `""`, 1):                               `session_id is "", not text`,
		strings.Replace(goodRow, `"A"`, `true`, 1):                              "channel_label is true, not text",
		strings.TrimSuffix(goodRow, "}") + `,"impression_interaction":"often"}`: `impression_interaction is "often", not 0 or 1`,
		goodRow + "," + goodRow:                                                 `session_id "s1" is twice in the journey`,
	} {
		other := strings.Replace(goodRow, "c1", "c2", 1)
		same := strings.Replace(goodRow, "s1", "s2", 1)
		req, err := ParseRequest([]byte(`{"customer_journeys":[` + same + "," + other + "," + bad + `],"redistribution_parameter":{}}`))
		require.NoError(t, err, bad)
		require.Len(t, req.Failures, 1, bad)
		require.Equal(t, "c1", req.Failures[0].ConversionID)
		require.Equal(t, StatusUnparseable, req.Failures[0].StatusCode)
		require.Contains(t, req.Failures[0].Reason, want)
		require.Len(t, req.Sessions, 1, "the journey's other row goes with it")
		require.Equal(t, "c2", req.Sessions[0].ConversionID)
		require.Equal(t, 2, req.Journeys)
		require.Nil(t, req.Redistribution)
	}
}

func TestResponseComesBack(t *testing.T) {
	t.Parallel()
	sent := &Response{
		StatusCode: StatusPartial,
		Failures:   []PartialFailure{{"c1", "s2", ReasonAfterConversion, StatusPartial}},
		HasValue:   true,
		Values: []Value{
			{ConversionID: "c1", SessionID: "s1", Score: ihcmodel.Score{Initializer: 10000, Closer: 10000, IHC: 10000}},
			{ConversionID: `"\` + "\t", SessionID: "ü", Score: ihcmodel.Score{Initializer: 1, Holder: 5000, Closer: 4161, IHC: 20}},
		},
		Message: "hello",
	}
	body := AppendResponse(nil, sent)
	require.True(t, json.Valid(body))
	require.Contains(t, string(body), `{"conversion_id":"c1","session_id":"s1","initializer":1.0,"holder":0.0,"closer":1.0,"ihc":1.0}`)
	require.Contains(t, string(body), `{"trigger":{"conversion_id":"c1","session_id":"s2"},"reason":"`+ReasonAfterConversion+`","statusCode":206}`)
	got, err := DecodeResponse(bytes.NewReader(body), 1<<20, 10)
	require.NoError(t, err)
	require.Equal(t, sent, got)
	require.JSONEq(t, `{"statusCode":500,"partialFailureErrors":[],"value":null}`, string(AppendResponse(nil, &Response{StatusCode: 500})))
}

// TestDecodeResponseKeepsTheGoodRows: one bad row costs one conversion.
func TestDecodeResponseKeepsTheGoodRows(t *testing.T) {
	t.Parallel()
	const good = `{"conversion_id":"c0","session_id":"s0","initializer":1,"holder":0.0,"closer":1e0,"ihc":0.41605,"more":[{}]}`
	for bad, want := range map[string]string{
		`{"conversion_id":"c1","session_id":"s1","ihc":NaN}`:              "ihc is NaN, not a number from 0 to 1",
		`{"conversion_id":"c1","session_id":"s1","ihc":-Infinity}`:        "ihc is -Infinity",
		`{"conversion_id":"c1","session_id":"s1","ihc":-0.5}`:             "ihc is -0.5",
		`{"conversion_id":"c1","session_id":"s1","ihc":1.0001}`:           "ihc is 1.0001",
		`{"conversion_id":"c1","session_id":"s1","ihc":1e99999999999}`:    "ihc is 1e99999999999",
		`{"conversion_id":"c1","session_id":"s1","ihc":"0.5"}`:            `ihc is "0.5"`,
		`{"conversion_id":"c1","session_id":"s1","ihc":null}`:             "ihc is missing",
		`{"conversion_id":"c1","session_id":"s1"}`:                        "ihc is missing",
		`{"conversion_id":"c1","session_id":"s1","ihc":0.5,"holder":[1]}`: "holder is [1]",
		`{"conversion_id":"c1","session_id":7,"ihc":0.5}`:                 "session_id is missing or not text",
		`{"session_id":"s1","ihc":0.5}`:                                   "conversion_id is missing or not text",
		`null`:                                                            "not an object",
		`[]`:                                                              "not an object",
	} {
		got, err := DecodeResponse(strings.NewReader(`{"statusCode":200,"value":[`+good+`,`+bad+`,`+good+`]}`), 1<<20, 10)
		require.NoError(t, err, bad)
		require.Len(t, got.Values, 3)
		require.Contains(t, got.Values[1].Problem, want)
		require.Zero(t, got.Values[1].Score)
		for _, i := range []int{0, 2} {
			require.Equal(t, Value{ConversionID: "c0", SessionID: "s0", Score: ihcmodel.Score{Initializer: 10000, Closer: 10000, IHC: 4161}}, got.Values[i])
		}
	}
}

func TestDecodeResponseOddities(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]Response{
		`{}`:                                       {},
		`{"statusCode":500,"value":null}`:          {StatusCode: 500},
		`{"statusCode":"200","value":{"a":[1]}}`:   {},
		`{"statusCode":200.5,"value":[]}`:          {HasValue: true, Values: []Value{}},
		`{"message":"Forbidden","reason":"other"}`: {Message: "Forbidden"},
		`{"error":"no"}`:                           {Message: "no"},
		`{"partialFailureErrors":null}`:            {},
		`{"partialFailureErrors":[3,{"trigger":5,"reason":false}]}`: {Failures: []PartialFailure{{}}},
		`{"status\u0043ode":206}`:                                   {StatusCode: 206},
	} {
		got, err := DecodeResponse(strings.NewReader(body), 100, 10)
		require.NoError(t, err, body)
		require.Equal(t, want, *got, body)
	}
	for _, body := range []string{"", "<html>", `{"statusCode":200,"value":[`, `{"statusCode":200}{`, `[]`, `null`, `{"value":[{"ihc":0.1`, `{"a":01}`} {
		_, err := DecodeResponse(strings.NewReader(body), 100, 10)
		require.ErrorContains(t, err, "not a whole JSON object", body)
	}
	_, err := DecodeResponse(strings.NewReader(`{"statusCode":200}`), 17, 10)
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = DecodeResponse(strings.NewReader(`{"statusCode":200}`), 18, 10)
	require.NoError(t, err)
}

// TestParseShareIsExact compares with rational arithmetic.
func TestParseShareIsExact(t *testing.T) {
	t.Parallel()
	number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,12})?([eE][-+]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		text := number.Draw(t, "number")
		exact, ok := new(big.Rat).SetString(text)
		require.True(t, ok)
		// Half upwards: floor of twice the value plus one, halved.
		scaled := new(big.Rat).Mul(exact, big.NewRat(10_000, 1))
		scaled.Add(scaled, big.NewRat(1, 2))
		floor := new(big.Int).Div(scaled.Num(), scaled.Denom())
		if exact.Sign() < 0 { // by magnitude, so that -0.00001 is 0
			scaled.Neg(exact).Mul(scaled, big.NewRat(10_000, 1)).Add(scaled, big.NewRat(1, 2))
			floor.Div(scaled.Num(), scaled.Denom()).Neg(floor)
		}
		valid := floor.Sign() >= 0 && floor.Cmp(big.NewInt(10_000)) <= 0
		got, ok := parseShare([]byte(text))
		require.Equal(t, valid, ok, text)
		if valid {
			require.EqualValues(t, floor.Int64(), got, text)
		}
	})
}

func TestWireID(t *testing.T) {
	t.Parallel()
	require.Equal(t, "plain ü", WireID("plain ü"))
	require.Equal(t, "a\uFFFD\uFFFDb", WireID("a\xff\xfeb"))
}

// TestReplyWithMoreRowsThanAreTaken: it is given up at the first row too many,
// before the rest of it fills the memory.
func TestReplyWithMoreRowsThanAreTaken(t *testing.T) {
	t.Parallel()
	const reply = `{"statusCode":200,"partialFailureErrors":[%s],"value":[%s]}`
	many := strings.Repeat("{},", 10) + "{}"
	_, err := DecodeResponse(strings.NewReader(fmt.Sprintf(reply, many, many)), 1<<20, 11)
	require.NoError(t, err)
	for body, says := range map[string]string{
		fmt.Sprintf(reply, "", many+",{}"):                         "the reply is larger than is taken (11 rows of value)",
		fmt.Sprintf(reply, "", strings.Repeat("0,", 100_000)+"0"):  "the reply is larger than is taken (11 rows of value)",
		fmt.Sprintf(reply, many+",{}", ""):                         "the reply is larger than is taken (11 entries of partialFailureErrors)",
		fmt.Sprintf(reply, "", strings.Repeat("[", 10_000)):        "exceeded max depth",
		fmt.Sprintf(reply, "", `{"ihc":NaN},`+many+`,{}`):          "(11 rows of value)",
		fmt.Sprintf(reply, "", `{"ihc":NaN`):                       "not a whole JSON object: byte",
		fmt.Sprintf(reply, "", `{"ihc":NaN},{"ihc`) + `\"NaN\"NaN`: "not a whole JSON object: it ends too early",
	} {
		_, err := DecodeResponse(strings.NewReader(body), 1<<20, 11)
		require.ErrorContains(t, err, says, "%.200s", body)
		require.Equal(t, strings.Contains(says, "(11 "), errors.Is(err, ErrTooLarge), "%.200s", body)
	}
}

// TestNonNumbersInTextAreText: NaN means something only where a number belongs.
func TestNonNumbersInTextAreText(t *testing.T) {
	t.Parallel()
	got, err := DecodeResponse(strings.NewReader(`{"message":"NaN \" Infinity","value":[`+
		`{"conversion_id":"NaN","session_id":"a\"NaN","ihc":1},{"conversion_id":NaN,"session_id":"s","ihc":[NaN, Infinity]},{"conversion_id":"c","session_id":-Infinity}]}`), 1<<20, 10)
	require.NoError(t, err)
	require.Equal(t, &Response{HasValue: true, Message: `NaN " Infinity`, Values: []Value{
		{ConversionID: "NaN", SessionID: `a"NaN`, Score: ihcmodel.Score{IHC: 10000}},
		{SessionID: "s", Problem: "conversion_id is missing or not text"},
		{ConversionID: "c", Problem: "session_id is missing or not text"},
	}}, got)
}
