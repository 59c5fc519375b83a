output "key_policy" {
  description = "Policy of the key."
  value       = aws_kms_key.this.policy
}
