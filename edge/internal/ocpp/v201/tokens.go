package v201

import (
	"encoding/hex"

	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
)

// idTokenTypes are the words of 2.x for the types of a token. 2.1 has free words
// beside them.
var idTokenTypes = map[string]ocpp201.IDTokenType{
	"emaid": ocpp201.IDTokenTypeEMAID, "mac": ocpp201.IDTokenTypeMacAddress, "local": ocpp201.IDTokenTypeLocal,
	"central": ocpp201.IDTokenTypeCentral, "key_code": ocpp201.IDTokenTypeKeyCode, "none": ocpp201.IDTokenTypeNoAuthorization,
	"direct_payment": "DirectPayment", "evccid": "EVCCID", "vin": "VIN", // 2.1
}

// idTokenOf is a token as 2.x writes it. A card is one of ISO 14443, unless its
// number has the eight bytes of ISO 15693. A token of a type that nobody named is
// a card when it looks like one, else made up by the operator.
func idTokenOf(t event.Token) ocpp201.IDToken {
	out := ocpp201.IDToken{IDToken: t.Value}
	switch word, known := idTokenTypes[t.Type]; {
	case known:
		out.Type = word
	case t.Type == "rfid", (t.Type == "unspecified" || t.Type == "") && looksLikeCard(t.Value):
		out.Type = ocpp201.IDTokenTypeISO14443
		if len(t.Value) == 16 {
			out.Type = ocpp201.IDTokenTypeISO15693
		}
	case t.Type == "unspecified", t.Type == "":
		out.Type = ocpp201.IDTokenTypeCentral
	default:
		out.Type = ocpp201.IDTokenType(t.Type)
	}
	return out
}

// looksLikeCard tells whether a value may be the number of a card: 4, 7, 8 or 10
// bytes in hex.
func looksLikeCard(value string) bool {
	b, err := hex.DecodeString(value)
	return err == nil && (len(b) == 4 || len(b) == 7 || len(b) == 8 || len(b) == 10)
}

// groupOf is the token of a group, which is the operator's; nil for none.
func groupOf(parent string) *ocpp201.IDToken {
	if parent == "" {
		return nil
	}
	return &ocpp201.IDToken{IDToken: parent, Type: ocpp201.IDTokenTypeCentral}
}
