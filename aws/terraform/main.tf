locals {
  # A resource tag holds 256 characters. Terms that do not fit into one go on in
  # upstream-tags-2 and so on, in groups that fit whatever their terms are.
  term_lists = {
    for name, r in var.repositories : name => length(join("/", r.tags)) <= 256 ? [join("/", r.tags)] : [
      for group in chunklist(r.tags, max(1, floor(256 / (max([for t in r.tags : length(t)]...) + 1)))) : join("/", group)
    ]
  }

  # The resource tags that make each repository a mirror.
  mirrors = {
    for name, r in var.repositories : name => merge(
      { "upstream-image" = r.image },
      { for i, terms in local.term_lists[name] : i == 0 ? "upstream-tags" : "upstream-tags-${i + 1}" => terms },
      length(r.ignore) == 0 ? {} : { "ignore-tags" = join("/", r.ignore) },
      length(r.platforms) == 0 ? {} : { "upstream-platforms" = join(" ", r.platforms) },
      length(r.options) == 0 ? {} : { "upstream-options" = join(" ", [for key, value in r.options : "${key}=${value}"]) },
    )
  }
}

resource "aws_ecr_repository" "mirror" {
  for_each = var.repositories

  name                 = each.key
  image_tag_mutability = each.value.immutable ? "IMMUTABLE" : "MUTABLE"
  force_delete         = each.value.force_delete

  image_scanning_configuration {
    scan_on_push = each.value.scan_on_push
  }

  encryption_configuration {
    encryption_type = each.value.kms_key == null ? "AES256" : "KMS"
    kms_key         = each.value.kms_key
  }

  tags = merge(var.resource_tags, each.value.resource_tags, local.mirrors[each.key])
}

resource "aws_ecr_lifecycle_policy" "mirror" {
  for_each = { for name, r in var.repositories : name => r.lifecycle_policy if r.lifecycle_policy != null }

  repository = aws_ecr_repository.mirror[each.key].name
  policy     = each.value
}

resource "aws_ecr_repository_policy" "mirror" {
  for_each = { for name, r in var.repositories : name => r.policy if r.policy != null }

  repository = aws_ecr_repository.mirror[each.key].name
  policy     = each.value
}
