package ecrlocal

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"

// The shapes of STS answers.
type (
	stsCredentials struct {
		AccessKeyID     string `xml:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      string
	}
	stsAssumedRole struct {
		ARN           string `xml:"Arn"`
		AssumedRoleID string `xml:"AssumedRoleId"`
	}
	stsAssumeRoleResult struct {
		XMLName                     xml.Name
		Credentials                 stsCredentials
		AssumedRoleUser             stsAssumedRole
		SubjectFromWebIdentityToken string `xml:",omitempty"`
		Audience                    string `xml:",omitempty"`
	}
	stsCallerIdentity struct {
		XMLName xml.Name
		ARN     string `xml:"Arn"`
		UserID  string `xml:"UserId"`
		Account string
	}
)

// serveSTS answers a Query request: a form with an Action.
func (s *Server) serveSTS(x *exchange, r *http.Request, body []byte) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		writeSTSError(x, newError("MalformedQueryString", "%s", err))
		return
	}
	action := form.Get("Action")
	x.describe(func(e *Entry) { e.Op = action })
	after, proceed := s.faults.inject(x, r, func(f *Fault) { writeSTSError(x, f.apiError()) })
	if !proceed {
		return
	}
	defer after()
	result, err := s.handleSTS(x, r, action, form)
	if err != nil {
		writeSTSError(x, err)
		return
	}
	writeSTSResult(x, action, result)
}

func (s *Server) handleSTS(x *exchange, r *http.Request, action string, form url.Values) (any, error) {
	if action == "AssumeRoleWithWebIdentity" { // unsigned by nature
		if form.Get("WebIdentityToken") == "" {
			return nil, newError("InvalidIdentityToken", "no web identity token was given")
		}
		result, err := s.assumeRole(x, action, form)
		if err == nil {
			result.SubjectFromWebIdentityToken, result.Audience = "system:serviceaccount:ecrlocal:ecrlocal", "sts.amazonaws.com"
		}
		return result, err
	}
	signed, ok := parseScope(r.Header.Get("Authorization"))
	if !ok {
		return nil, &apiError{code: "MissingAuthenticationToken", message: "Request is missing Authentication Token", status: http.StatusForbidden}
	}
	s.mu.Lock()
	caller, apiErr := s.identify(signed.accessKey)
	s.mu.Unlock()
	if apiErr != nil {
		return nil, &apiError{code: "InvalidClientTokenId", message: apiErr.message, status: http.StatusForbidden}
	}
	x.describe(func(e *Entry) { e.Account, e.Region, e.Principal = caller.account, signed.region, caller.arn })
	stranger := action == "AssumeRole" && !s.credentials.knowsExternalID(form.Get("RoleArn"), form.Get("ExternalId"))
	if stranger || caller.denies("sts:"+action) {
		denied := errDenied(caller, "sts:"+action, form.Get("RoleArn"))
		return nil, &apiError{code: "AccessDenied", message: denied.message, status: http.StatusForbidden}
	}
	switch action {
	case "GetCallerIdentity":
		return stsCallerIdentity{
			XMLName: xml.Name{Local: "GetCallerIdentityResult"},
			ARN:     caller.arn, UserID: caller.userID, Account: caller.account,
		}, nil
	case "AssumeRole":
		return s.assumeRole(x, action, form)
	default:
		return nil, newError("InvalidAction", "Could not find operation %s for version 2011-06-15", action)
	}
}

// assumeRole issues temporary credentials for the account of the role.
func (s *Server) assumeRole(x *exchange, action string, form url.Values) (*stsAssumeRoleResult, error) {
	roleARN, name := form.Get("RoleArn"), form.Get("RoleSessionName")
	partition, account, role, ok := parseRoleARN(roleARN)
	if !ok {
		return nil, newError("ValidationError", "%s is invalid", roleARN)
	}
	if len(name) < 2 || len(name) > 64 {
		return nil, newError("ValidationError", "RoleSessionName must have 2 to 64 characters")
	}
	duration := time.Hour
	if text := form.Get("DurationSeconds"); text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 900 || seconds > 43200 {
			return nil, newError("ValidationError", "DurationSeconds must be between 900 and 43200")
		}
		duration = time.Duration(seconds) * time.Second
	}
	roleID := "AROA" + strings.ToUpper(randomHex(8))
	issued := session{
		Account: account,
		ARN:     "arn:" + partition + ":sts::" + account + ":assumed-role/" + role + "/" + name,
		RoleARN: roleARN,
		UserID:  roleID + ":" + name,
		Expires: s.clock().Add(duration),
	}
	accessKey := "ASIA" + strings.ToUpper(randomHex(8))
	s.mu.Lock()
	s.state.Sessions[accessKey] = issued
	s.changed()
	s.mu.Unlock()
	x.describe(func(e *Entry) { e.Account, e.Reference = account, roleARN })
	return &stsAssumeRoleResult{
		XMLName: xml.Name{Local: action + "Result"},
		Credentials: stsCredentials{
			AccessKeyID: accessKey, SecretAccessKey: randomHex(20), SessionToken: randomHex(64),
			Expiration: issued.Expires.UTC().Format(time.RFC3339),
		},
		AssumedRoleUser: stsAssumedRole{ARN: issued.ARN, AssumedRoleID: issued.UserID},
	}, nil
}

// parseRoleARN takes apart what a role's ARN says.
func parseRoleARN(arn string) (partition, account, role string, ok bool) {
	fields := strings.SplitN(arn, ":", 6)
	if len(fields) != 6 || fields[0] != "arn" || fields[2] != "iam" || !isAccountID(fields[4]) {
		return "", "", "", false
	}
	role, ok = strings.CutPrefix(fields[5], "role/")
	role = role[strings.LastIndex(role, "/")+1:]
	return fields[1], fields[4], role, ok && role != ""
}

func writeSTSResult(w http.ResponseWriter, action string, result any) {
	inner, err := xml.Marshal(result)
	if err != nil { // plain structs of strings
		panic(err)
	}
	w.Header().Set("Content-Type", "text/xml")
	//nolint:gosec // XML for SDKs; only known actions get here
	_, _ = fmt.Fprintf(w, `<%[1]sResponse xmlns="%[2]s">%[3]s<ResponseMetadata><RequestId>%[4]s</RequestId></ResponseMetadata></%[1]sResponse>`,
		action, stsNamespace, inner, randomUUID())
}

func writeSTSError(w http.ResponseWriter, err error) {
	e, ok := errors.AsType[*apiError](err)
	if !ok {
		e = &apiError{code: "InternalFailure", message: err.Error(), status: http.StatusInternalServerError}
	}
	inner, marshalErr := xml.Marshal(struct {
		XMLName             xml.Name `xml:"Error"`
		Type, Code, Message string
	}{Type: "Sender", Code: e.code, Message: e.message})
	if marshalErr != nil { // plain strings
		panic(marshalErr)
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(e.httpStatus())
	_, _ = fmt.Fprintf(w, `<ErrorResponse xmlns=%q>%s<RequestId>%s</RequestId></ErrorResponse>`, stsNamespace, inner, randomUUID())
}
