// Package ecrlocal is a local Amazon ECR: one process, one state, two faces on one port.
//
// The control plane speaks what the AWS SDKs and the AWS CLI speak: ECR, ECR Public and the
// Resource Groups Tagging API as JSON 1.1, STS as Query/XML. The data plane under /v2/ is an
// OCI registry with ECR's manners in front and distribution's storage behind. An image pushed
// through one face is seen through the other at once.
//
// Accounts and Regions are separate namespaces. A control-plane request belongs to the account
// of the access key that signed it and to the Region in its credential scope; a registry
// request belongs to the account and Region of the token that GetAuthorizationToken issued.
// Signatures are not verified. A registry that [Server.RegistryAt] gives an address of its own
// is known by that.
//
// Where ECR differs from a plain registry, the difference is a field of [Quirks]. [ECR] turns
// all of them on and is the default; [PlainOCI] turns all of them off. The table in README.md
// says which behaviours are evidenced and which are assumed.
//
// A [Server] is an [http.Handler]. Tests start one with the ecrlocaltest package; the program
// cmd/ecrlocal serves one.
package ecrlocal
