// SHA-256, for what somebody could want to forge (everything else is content with Spool::hash()).
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace io {

class Sha256 {
 public:
  static constexpr std::size_t octets = 32;
  Sha256();  // std::bad_alloc when there is no memory
  void feed(std::string_view bytes);
  std::string finish();  // 32 octets; nothing may follow

 private:
  std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st*)> context_;
};

}  // namespace io
