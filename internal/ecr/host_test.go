package ecr_test

import (
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
)

func TestParseHost(t *testing.T) {
	at := func(region string) ecr.Location { return ecr.Location{Account: "111122223333", Region: region} }
	for _, test := range []struct {
		host string
		want ecr.Location
	}{
		{"111122223333.dkr.ecr.us-east-1.amazonaws.com", at("us-east-1")},
		{"000000000000.dkr.ecr.us-east-1.amazonaws.com", ecr.Location{Account: "000000000000", Region: "us-east-1"}},
		{"111122223333.dkr.ecr.ap-southeast-7.amazonaws.com", at("ap-southeast-7")},
		{"111122223333.dkr.ecr.us-gov-west-1.amazonaws.com", at("us-gov-west-1")},
		{"111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn", at("cn-north-1")},
		{"111122223333.dkr.ecr.eusc-de-east-1.amazonaws.eu", at("eusc-de-east-1")},
		{"111122223333.dkr.ecr.us-isob-east-1.sc2s.sgov.gov", at("us-isob-east-1")},
		{"111122223333.dkr.ecr.us-iso-east-1.c2s.ic.gov", at("us-iso-east-1")},
		{"111122223333.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", at("eu-isoe-west-1")},
		{"111122223333.dkr.ecr.us-isof-south-1.csp.hci.ic.gov", at("us-isof-south-1")},
		{"111122223333.dkr.ecr-fips.us-east-2.amazonaws.com", at("us-east-2")},
		{"111122223333.dkr-ecr.eu-west-1.on.aws", at("eu-west-1")},
		{"111122223333.dkr-ecr-fips.us-west-2.on.aws", at("us-west-2")},
		{"111122223333.dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn", at("cn-northwest-1")},
		{"111122223333.DKR.ECR.us-east-1.AmazonAWS.com", at("us-east-1")},
		{"111122223333.dkr.ecr.us-east-1.amazonaws.com:443", at("us-east-1")},
	} {
		if got, ok := ecr.ParseHost(test.host); !ok || got != test.want {
			t.Errorf("ParseHost(%q) = %v, %t, want %v", test.host, got, ok, test.want)
		}
	}
}

// A host that is taken for ECR gets ECR's password, so that what is nearly one matters
// more than what is one.
func TestParseHostRefuses(t *testing.T) {
	for _, host := range []string{
		"",
		"docker.io",
		"public.ecr.aws",
		"ecr-public.aws.com",
		"api.ecr.us-east-1.amazonaws.com",
		"ecr.us-east-1.amazonaws.com",
		"111122223333.dkr.ecr.us-east-1.amazonaws.com.evil.example",
		"evil.example/111122223333.dkr.ecr.us-east-1.amazonaws.com",
		"111122223333.dkr.ecr.us-east-1.amazonaws.com@evil.example",
		"evil.111122223333.dkr.ecr.us-east-1.amazonaws.com",
		"x111122223333.dkr.ecr.us-east-1.amazonaws.com",
		"11112222333.dkr.ecr.us-east-1.amazonaws.com",
		"1111222233334.dkr.ecr.us-east-1.amazonaws.com",
		"11112222333x.dkr.ecr.us-east-1.amazonaws.com",
		"111122223333.dkr.ecr.us-east-1.evilamazonaws.com",
		"111122223333.dkr.ecr.us-east-1.amazonaws.comm",
		"111122223333.dkr.ecr.us-east-1.amazonaws.example",
		"111122223333.dkr.ecr.evil.us-east-1.amazonaws.com",
		"111122223333.dkr.ecr..amazonaws.com",
		"111122223333.dkr.ecr.amazonaws.com",
		"111122223333.dkrxecr.us-east-1.amazonaws.com",
		"111122223333.dkr.ecr-fipss.us-east-1.amazonaws.com",
		"111122223333xdkr.ecr.us-east-1.amazonaws.com",
		"111122223333.dkr.ecr.us-east-1xamazonaws.com",
		"111122223333.dkr.ecr.us-east-1.amazonawsxcom",
		"111122223333.dkr.ecr.us-east-1.amazonaws.com.",
		"111122223333.dkr.ecr.us-east-1.amazonaws.com:5000",
		"111122223333.dkr.ecr.us-east-1.amazonaws.com\n",
		"\n111122223333.dkr.ecr.us-east-1.amazonaws.com",
		" 111122223333.dkr.ecr.us-east-1.amazonaws.com",
		"https://111122223333.dkr.ecr.us-east-1.amazonaws.com",
		"١١١١٢٢٢٢٣٣٣٣.dkr.ecr.us-east-1.amazonaws.com",
		// The Kelvin sign is a "k" to Unicode's rules for case, and was one here.
		"111122223333.d\u212Ar.ecr.us-east-1.amazonaws.com",
		"111122223333.dkr.ecr.us-ea\u017Ft-1.amazonaws.com",
	} {
		if got, ok := ecr.ParseHost(host); ok {
			t.Errorf("ParseHost(%q) = %v", host, got)
		}
	}
}

func TestLocationNamesTheRegistry(t *testing.T) {
	for want, at := range map[string]ecr.Location{
		"account 111122223333 in eu-west-1": {Account: "111122223333", Region: "eu-west-1"},
		"the caller's account in us-east-1": {Region: "us-east-1"},
	} {
		if got := at.String(); got != want {
			t.Errorf("String() = %q, want %q", got, want)
		}
	}
}

// FuzzParseHost: what is taken for ECR ends in a domain of AWS, begins with an account
// and has nothing else around it, whatever came in.
func FuzzParseHost(f *testing.F) {
	f.Add("111122223333.dkr.ecr.us-east-1.amazonaws.com")
	f.Add("111122223333.DKR-ecr-fips.us-gov-west-1.ON.aws:443")
	f.Add("111122223333.dkr.ecr.us-east-1.amazonaws.com.evil.example")
	f.Add("111122223333.d\u212Ar.ecr.cn-north-1.amazonaws.com.cn")
	f.Fuzz(func(t *testing.T, host string) {
		at, ok := ecr.ParseHost(host)
		if !ok {
			if at != (ecr.Location{}) {
				t.Fatalf("ParseHost(%q) = %v, false", host, at)
			}
			return
		}
		for _, r := range host {
			if r > 0x7e || r <= ' ' || strings.ContainsRune("/@?#\\", r) {
				t.Fatalf("ParseHost(%q) accepts %q", host, r)
			}
		}
		rest, found := strings.CutPrefix(strings.TrimSuffix(strings.ToLower(host), ":443"), at.Account+".dkr")
		labels := strings.SplitN(strings.TrimLeft(rest, ".-"), ".", 3)
		if !found || len(at.Account) != 12 || len(labels) != 3 || labels[1] != at.Region {
			t.Fatalf("ParseHost(%q) = %v", host, at)
		}
		switch labels[2] {
		case "amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "on.aws", "on.amazonwebservices.com.cn",
			"sc2s.sgov.gov", "c2s.ic.gov", "cloud.adc-e.uk", "csp.hci.ic.gov":
		default:
			t.Fatalf("ParseHost(%q) accepts the domain %q", host, labels[2])
		}
	})
}
