data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition

  # Discovery may come upon repositories that somebody else tagged. They can be read, and
  # not written to.
  readable = ["arn:${local.partition}:ecr:*:${local.account}:repository/*"]
  writable = [for r in aws_ecr_repository.mirror : r.arn]

  # The issuer is what the provider's ARN says after oidc-provider/.
  issuer = var.irsa == null ? "" : split("oidc-provider/", var.irsa.oidc_provider_arn)[1]
}

data "aws_iam_policy_document" "trust" {
  dynamic "statement" {
    for_each = var.irsa == null ? [] : [var.irsa]

    content {
      sid     = "ServiceAccountOfTheMirror"
      actions = ["sts:AssumeRoleWithWebIdentity"]

      principals {
        type        = "Federated"
        identifiers = [statement.value.oidc_provider_arn]
      }

      condition {
        test     = "StringEquals"
        variable = "${local.issuer}:aud"
        values   = ["sts.amazonaws.com"]
      }

      condition {
        test     = "StringEquals"
        variable = "${local.issuer}:sub"
        values   = ["system:serviceaccount:${var.namespace}:${var.service_account}"]
      }
    }
  }

  dynamic "statement" {
    for_each = var.pod_identity == null ? [] : [var.pod_identity]

    content {
      sid     = "PodIdentityOfTheMirror"
      actions = ["sts:AssumeRole", "sts:TagSession"]

      principals {
        type        = "Service"
        identifiers = ["pods.eks.amazonaws.com"]
      }

      condition {
        test     = "StringEquals"
        variable = "aws:RequestTag/eks-cluster-name"
        values   = [statement.value.cluster_name]
      }

      condition {
        test     = "StringEquals"
        variable = "aws:RequestTag/kubernetes-namespace"
        values   = [var.namespace]
      }

      condition {
        test     = "StringEquals"
        variable = "aws:RequestTag/kubernetes-service-account"
        values   = [var.service_account]
      }
    }
  }
}

data "aws_iam_policy_document" "mirror" {
  statement {
    sid       = "FindRepositoriesByResourceTag"
    actions   = ["tag:GetResources"]
    resources = ["*"]
  }

  statement {
    sid       = "SignInToRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid = "ReadRepositories"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:DescribeRepositories",
      "ecr:GetDownloadUrlForLayer",
      "ecr:ListImages",
      "ecr:ListTagsForResource",
    ]
    resources = local.readable
  }

  dynamic "statement" {
    for_each = length(local.writable) == 0 ? [] : [local.writable]

    content {
      sid = "WriteImages"
      actions = [
        "ecr:CompleteLayerUpload",
        "ecr:InitiateLayerUpload",
        "ecr:PutImage",
        "ecr:UploadLayerPart",
      ]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = var.prune && length(local.writable) > 0 ? [local.writable] : []

    content {
      sid       = "RemoveTags"
      actions   = ["ecr:BatchDeleteImage"]
      resources = statement.value
    }
  }
}

resource "aws_iam_role" "mirror" {
  name                 = var.role_name
  description          = "Keeps copies of container images in sync"
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  permissions_boundary = var.permissions_boundary
  tags                 = var.resource_tags

  lifecycle {
    precondition {
      condition     = var.irsa != null || var.pod_identity != null
      error_message = "Nobody could take the role: set irsa, pod_identity or both."
    }
  }
}

resource "aws_iam_role_policy" "mirror" {
  name   = var.role_name
  role   = aws_iam_role.mirror.id
  policy = data.aws_iam_policy_document.mirror.json
}

resource "aws_eks_pod_identity_association" "mirror" {
  count = var.pod_identity == null ? 0 : 1

  cluster_name    = var.pod_identity.cluster_name
  namespace       = var.namespace
  service_account = var.service_account
  role_arn        = aws_iam_role.mirror.arn
  tags            = var.resource_tags
}
