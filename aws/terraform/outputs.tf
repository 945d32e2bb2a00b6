output "repositories" {
  description = "The repositories by name: ARN, URL to pull from, and the resource tags that make them mirrors."
  value = {
    for name, r in aws_ecr_repository.mirror : name => {
      arn    = r.arn
      url    = r.repository_url
      mirror = local.mirrors[name]
    }
  }
}

output "role_arn" {
  description = "The role that the mirror runs as: eks.amazonaws.com/role-arn of its service account, with IAM roles for service accounts."
  value       = aws_iam_role.mirror.arn
}

output "policy_json" {
  description = "What the role may do."
  value       = data.aws_iam_policy_document.mirror.json
}
