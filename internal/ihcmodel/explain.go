package ihcmodel

// Why is what decided a session's share of its conversion, before the phases are
// rounded: what [Scorer.Score] makes its values from.
type Why struct {
	// Cut: the journey starts anew after it, so that it has no share.
	Cut bool
	// First: the journey starts with it. Last: it is the last session.
	First, Last bool
	// HoursSince is the time since the session before, HoursToLast that to the
	// last session.
	HoursSince, HoursToLast float64
	// Memberships in the three phases, 0 to 1, of holder weighed by how little
	// of the other two it is.
	Initializer, Holder, Closer float64
	// Score is by which factors the channel's memberships are multiplied.
	Score ChannelScore
	// Gives says in which phases the channel's share is redistributed.
	Gives Phases3
}

// Phases3 says something of each phase.
type Phases3 struct{ Initializer, Holder, Closer bool }

// Explain says of each session of a journey, at the same index, what decided
// its share. Redistribution is that of [Model.Scorer].
func (m *Model) Explain(r *Redistribution, sessions []Session) []Why {
	n := len(sessions)
	if n == 0 {
		return nil
	}
	s := m.Scorer(r)
	s.reset(sessions)
	start := s.memberships(sessions)
	all := make([]Why, n)
	last := sessions[s.order[n-1]].TimeMicros
	for k, i := range s.order {
		one := &sessions[i]
		w := Why{Cut: k < start, First: k == start, Last: k == n-1, HoursToLast: float64(last-one.TimeMicros) / microsPerHour, Score: m.score(one.Channel)}
		if k > 0 {
			w.HoursSince = float64(one.TimeMicros-sessions[s.order[k-1]].TimeMicros) / microsPerHour
		}
		if !w.Cut {
			w.Initializer, w.Holder, w.Closer = s.phase[0][k]/w.Score.Initializer, s.phase[1][k]/w.Score.Holder, s.phase[2][k]/w.Score.Closer
		}
		gives := func(phase int) bool { return s.rules[phase] != nil && s.rules[phase].gives[one.Channel] }
		w.Gives = Phases3{gives(0), gives(1), gives(2)}
		all[i] = w
	}
	return all
}

// CutHours returns the gap in hours from which on a journey starts anew; none
// does in a model whose curve never reaches 1.
func (m *Model) CutHours() (hours float64, cuts bool) { return float64(m.cut) / microsPerHour, m.cuts }
