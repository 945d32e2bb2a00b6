variable "repositories" {
  description = "Repositories to create, by name, each a mirror of an upstream repository. README.md tells what the values mean."
  type = map(object({
    image     = string
    tags      = list(string)
    ignore    = optional(list(string), [])
    platforms = optional(list(string), [])
    options   = optional(map(string), {})

    immutable        = optional(bool, false)
    scan_on_push     = optional(bool, true)
    kms_key          = optional(string)
    lifecycle_policy = optional(string)
    policy           = optional(string)
    force_delete     = optional(bool, false)
    resource_tags    = optional(map(string), {})
  }))
  default = {}

  validation {
    condition     = alltrue([for r in values(var.repositories) : length(r.tags) > 0])
    error_message = "Each repository needs at least one term in tags: nothing is mirrored without."
  }

  validation {
    condition     = alltrue([for r in values(var.repositories) : length(join("/", r.ignore)) <= 256])
    error_message = "The terms of ignore have to fit into one resource tag of 256 characters."
  }

  validation {
    condition     = alltrue([for r in values(var.repositories) : alltrue([for t in concat(r.tags, r.ignore) : length(t) <= 256 && can(regex("^[A-Za-z0-9 _.:/=+@-]+$", t))])])
    error_message = "Terms hold letters, digits, space and _ . : / = + - @, as resource tags do, and at most 256 of them: write + for *, and ge, gt, le, lt, eq, ne for the operators."
  }
}

variable "role_name" {
  description = "Name of the role that the mirror runs as, and of its policy."
  type        = string
  default     = "ecr-mirror-sync"
}

variable "permissions_boundary" {
  description = "ARN of a policy that bounds the role."
  type        = string
  default     = null
}

variable "irsa" {
  description = "The cluster's IAM OIDC provider, for IAM roles for service accounts: its ARN."
  type = object({
    oidc_provider_arn = string
  })
  default = null
}

variable "pod_identity" {
  description = "The EKS cluster whose Pod Identity agent gives the role to the service account: its name."
  type = object({
    cluster_name = string
  })
  default = null
}

variable "namespace" {
  description = "Namespace of the service account."
  type        = string
  default     = "ecr-mirror-sync"
}

variable "service_account" {
  description = "Name of the service account."
  type        = string
  default     = "ecr-mirror-sync"
}

variable "prune" {
  description = "Whether the role may remove tags that no rule wants any more. Whoever may do that can delete images."
  type        = bool
  default     = false
}

variable "resource_tags" {
  description = "Resource tags for everything that the module creates."
  type        = map(string)
  default     = {}
}
