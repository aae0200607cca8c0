package stream

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/human"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// DecodeEvent reads a run event in either encoding: JSON when the first byte
// is '{', protobuf otherwise. What the subject says it need not say itself, so
// that people can end or resume a run with no more than a publish; what it says
// of another run than its subject does is an error.
func DecodeEvent(d Delivery, data []byte) (*ihcv1.RunEvent, error) {
	e := &ihcv1.RunEvent{}
	var err error
	if len(data) > 0 && data[0] == '{' {
		err = protojson.Unmarshal(data, e)
	} else {
		err = proto.Unmarshal(data, e)
	}
	if err != nil {
		return nil, fmt.Errorf("run event on %s: %w", d.Subject, err)
	}
	switch named, _ := place(d.Subject); {
	case e.GetRunId() == "":
		if e.RunId = named; !utf8.ValidString(e.RunId) {
			return nil, fmt.Errorf("run event on %q: not the name of a run", d.Subject)
		}
	case named != "" && e.GetRunId() != named:
		return nil, fmt.Errorf("run event on %s: it says it is of run %s", d.Subject, human.QuoteText(e.GetRunId()))
	}
	if e.GetEvent() == nil {
		switch token := strings.Split(d.Subject, "."); {
		case len(token) < 4:
		case token[3] == string(EventCancelled):
			e.Event = &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}
		case token[3] == string(EventResumed):
			e.Event = &ihcv1.RunEvent_Resumed{Resumed: &ihcv1.RunResumed{}}
		}
	}
	return e, nil
}

func eventName(e *ihcv1.RunEvent) (Event, error) {
	switch e.GetEvent().(type) {
	case *ihcv1.RunEvent_Accepted:
		return EventAccepted, nil
	case *ihcv1.RunEvent_Extracted:
		return EventExtracted, nil
	case *ihcv1.RunEvent_Written:
		return EventWritten, nil
	case *ihcv1.RunEvent_Reported:
		return EventReported, nil
	case *ihcv1.RunEvent_Failed:
		return EventFailed, nil
	case *ihcv1.RunEvent_Cancelled:
		return EventCancelled, nil
	case *ihcv1.RunEvent_Paused:
		return EventPaused, nil
	case *ihcv1.RunEvent_Resumed:
		return EventResumed, nil
	default:
		return "", fmt.Errorf("event of run %s says nothing", e.GetRunId())
	}
}

// EventOf returns the name of an event, "" for one of a newer version.
func EventOf(e *ihcv1.RunEvent) Event {
	name, err := eventName(e)
	if err != nil {
		return ""
	}
	return name
}
