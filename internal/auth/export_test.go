package auth

// AskWithin asks a credential helper with another limit than a user's.
var AskWithin = askWithin
