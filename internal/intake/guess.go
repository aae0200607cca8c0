package intake

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// names are what fields are called in exports, the surest first: the challenge's
// own, GA4, Matomo, Shopify and what shops call them otherwise. Letters and
// digits alone are compared.
var names = map[string]map[string]string{
	"sessions": {
		"session_id":             "session_id visit_id idvisit ga_session_id sessionid sitzung_id sitzung besuch visit session",
		"user_id":                "user_id user_pseudo_id visitorid visitor_id client_id customer_id fullvisitorid customer_email email besucher_id kunden_id kunde visitor user customer",
		"time":                   "event_timestamp session_start session_start_timestamp firstactiontimestamp servertimestamp visit_start timestamp datetime time started_at created_at zeitpunkt zeit",
		"event_date":             "event_date date datum",
		"event_time":             "event_time uhrzeit",
		"channel_name":           "channel_name channel session_default_channel_group default_channel_group kanal",
		"source":                 "source utm_source session_source traffic_source.source collected_traffic_source.manual_source referrername quelle",
		"medium":                 "medium utm_medium session_medium traffic_source.medium collected_traffic_source.manual_medium referrertype",
		"campaign":               "campaign utm_campaign session_campaign traffic_source.name collected_traffic_source.manual_campaign_name campaignname kampagne",
		"referrer":               "referrer page_referrer referrerurl referring_site",
		"holder_engagement":      "holder_engagement engaged_session session_engaged engaged engaged_session_event actions pages pageviews seiten engagement_time_msec",
		"closer_engagement":      "closer_engagement add_to_carts goalconversions begin_checkout checkout warenkorb",
		"impression_interaction": "impression_interaction",
	},
	"conversions": {
		"conv_id":   "conv_id transaction_id ecommerce.transaction_id order_id orderid conversion_id name order_number id bestellnummer bestell_id",
		"user_id":   "user_id user_pseudo_id visitorid visitor_id client_id customer_id customerid email kunden_id kundennummer kunde",
		"time":      "event_timestamp conv_timestamp timestamp created_at createdat processed_at servertimestamp order_date datetime time zeitpunkt",
		"conv_date": "conv_date date datum bestelldatum",
		"conv_time": "conv_time uhrzeit",
		"revenue":   "revenue purchase_revenue ecommerce.purchase_revenue total total_price order_total umsatz value amount betrag",
		"currency":  "currency waehrung währung",
	},
	"costs":       {"session_id": "session_id visit_id idvisit sessionid", "cost": "cost spend amount kosten", "currency": "currency"},
	"daily_costs": {"date": "date day datum tag", "channel_name": "channel_name channel kanal", "source": "source utm_source", "medium": "medium utm_medium", "campaign": "campaign campaign_name utm_campaign kampagne", "cost": "cost spend amount_spent cost_micros kosten betrag amount", "currency": "currency currency_code"},
}

// Guess proposes how a table is to be read, by the names of its columns and a few
// rows, and says which fields it found no column for.
func Guess(table string, columns []string, sample [][]string) (t Table, open []string) {
	t.Fields = map[string]Field{}
	taken := map[int]bool{}
	for _, field := range fields[table] {
		if i := likely(names[table][field], columns, taken); i >= 0 {
			t.Fields[field], taken[i] = Field{Column: columns[i]}, true
		}
	}
	if _, has := t.Fields["time"]; has {
		delete(t.Fields, map[string]string{"sessions": "event_date", "conversions": "conv_date"}[table])
		delete(t.Fields, map[string]string{"sessions": "event_time", "conversions": "conv_time"}[table])
	}
	if _, has := t.Fields["channel_name"]; has {
		for _, f := range []string{"source", "medium", "campaign", "referrer"} {
			delete(t.Fields, f)
		}
	}
	if strings.EqualFold(t.Fields["session_id"].Column, "ga_session_id") && t.Fields["user_id"].Column != "" {
		t.Fields["session_id"] = Field{Columns: []string{t.Fields["user_id"].Column, t.Fields["session_id"].Column}}
	}
	t.refine(table, columns, sample)
	need := map[string][][]string{
		"sessions":    {{"session_id"}, {"user_id"}, {"time", "event_date"}, {"channel_name", "source", "medium", "referrer"}},
		"conversions": {{"conv_id"}, {"user_id"}, {"time", "conv_date"}, {"revenue"}},
		"costs":       {{"session_id"}, {"cost"}}, "daily_costs": {{"date"}, {"channel_name", "source", "medium", "campaign"}, {"cost"}},
	}
next:
	for _, one := range need[table] {
		for _, f := range one {
			if _, has := t.Fields[f]; has {
				continue next
			}
		}
		open = append(open, table+"."+one[0])
	}
	return t, open
}

// refine looks at values: counts where a flag belongs, decimal commas, further
// lines of an order, micros.
func (t *Table) refine(table string, columns []string, sample [][]string) {
	values := func(column string) (found []string) {
		for i, c := range columns {
			for _, row := range sample {
				if c == column && i < len(row) {
					found = append(found, strings.TrimSpace(row[i]))
				}
			}
		}
		return found
	}
	for _, name := range []string{"holder_engagement", "closer_engagement"} {
		for _, v := range values(t.Fields[name].Column) {
			least := enough(t.Fields[name].Column)
			if _, word := truths[strings.ToLower(v)]; (!word || least > 1) && v != "" && strings.Trim(v, "0123456789") == "" {
				t.Fields[name] = Field{Column: t.Fields[name].Column, AtLeast: &least}
			}
		}
	}
	money := map[string]string{"conversions": "revenue", "costs": "cost", "daily_costs": "cost"}[table]
	column := t.Fields[money].Column
	for _, v := range values(column) {
		v = strings.TrimRight(v, " €$£\u00a0")
		if i := strings.LastIndexByte(v, ','); i >= 0 && i > strings.LastIndexByte(v, '.') && len(v)-i-1 < 3 {
			t.Decimal = ","
		}
		if v == "" && table == "conversions" && t.SkipBlank == nil {
			t.SkipBlank = []string{column}
		}
	}
	if strings.HasSuffix(strings.ToLower(column), "micros") {
		t.Fields[money] = Field{Column: column, Unit: "micros"}
	}
}

// enough is how much of a count it takes for a session to be engaged: one page is
// a visit, two are interest; GA4 asks for ten seconds; of carts and the like one.
func enough(column string) float64 {
	switch letters(column) {
	case "actions", "pages", "pageviews", "seiten":
		return 2
	case "engagementtimemsec":
		return 10_000
	}
	return 1
}

func likely(known string, columns []string, taken map[int]bool) int {
	for _, name := range strings.Fields(known) {
		for i, c := range columns {
			if letters(c) == letters(name) && !taken[i] {
				return i
			}
		}
	}
	return -1
}

func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" _-.()", r) {
			return -1
		}
		return r
	}, strings.ToLower(s))
}

// YAML returns a mapping as people keep it, under the key "mapping".
func (m *Mapping) YAML() ([]byte, error) {
	return yaml.Marshal(map[string]*Mapping{"mapping": m})
}
