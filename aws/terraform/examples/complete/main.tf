terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.40"
    }
  }
}

provider "aws" {
  region = "eu-west-1"
}

module "mirror" {
  source = "../.."

  repositories = {
    "mirrors/nginx" = {
      image     = "docker.io/library/nginx"
      tags      = ["1.27.+", "stable", "newest:5"]
      ignore    = ["+-perl"]
      platforms = ["linux/amd64", "linux/arm64"]
    }

    "mirrors/postgres" = {
      image   = "docker.io/library/postgres"
      tags    = ["semver:ge16 lt18"]
      options = { variant = "alpine", "min-tags" = "1" }
    }

    "mirrors/argocd" = {
      image     = "quay.io/argoproj/argocd"
      tags      = ["semver:2.x", "newest:3"]
      immutable = true
      options   = { referrers = "false" }

      lifecycle_policy = jsonencode({
        rules = [{
          rulePriority = 1
          description  = "Untagged images go after two weeks"
          selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
          action       = { type = "expire" }
        }]
      })
    }

    # More terms than one resource tag holds.
    "mirrors/golang" = {
      image = "docker.io/library/golang"
      tags = [
        "1.20.14-bookworm", "1.21.13-bookworm", "1.22.12-bookworm", "1.23.12-bookworm", "1.24.9-bookworm", "1.25.3-bookworm",
        "1.20.14-alpine3.19", "1.21.13-alpine3.20", "1.22.12-alpine3.21", "1.23.12-alpine3.22", "1.24.9-alpine3.22", "1.25.3-alpine3.22",
        "1.20.14-bullseye", "1.21.13-bullseye", "1.22.12-bullseye", "1.23.12-bullseye",
      ]
    }
  }

  # Either of them, or both.
  irsa = {
    oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE"
  }
  pod_identity = {
    cluster_name = "example"
  }

  resource_tags = {
    team = "platform"
  }
}

output "role_arn" {
  value = module.mirror.role_arn
}
