package unit

// Engagement is how a session's visitor met the shop: the bits of a session in
// the flags of a protobuf Journey, added up.
type Engagement uint8

// The bits of an [Engagement].
const (
	Holder     Engagement = 1 // the visitor engaged as a holder of interest does
	Closer     Engagement = 2 // the visitor engaged as one about to buy does
	Impression Engagement = 4 // an advertisement was seen, not clicked
)

// EngagementOf adds up the bits that are set.
func EngagementOf(holder, closer, impression bool) Engagement {
	var e Engagement
	if holder {
		e |= Holder
	}
	if closer {
		e |= Closer
	}
	if impression {
		e |= Impression
	}
	return e
}

// Holder says whether the visitor engaged as a holder.
func (e Engagement) Holder() bool { return e&Holder != 0 }

// Closer says whether the visitor engaged as a closer.
func (e Engagement) Closer() bool { return e&Closer != 0 }

// Impression says whether the session is an impression.
func (e Engagement) Impression() bool { return e&Impression != 0 }
